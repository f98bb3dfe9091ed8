//! Changes of the Corefile while queries come in.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;

use super::harness::*;

fn corefile(ttl: u32) -> String {
    format!(
        ".:53 {{\n kubernetes cluster.local {{\n ttl {ttl}\n }}\n reload\n prometheus 127.0.0.1:0\n}}"
    )
}

/// Lays out a version as a kubelet does in a ConfigMap's volume.
fn lay_out(directory: &Path, version: &str, text: &str) {
    let path = |name: &str| directory.join(name);
    std::fs::create_dir(path(version)).expect("a directory");
    std::fs::write(path(version).join("Corefile"), text).expect("written");
    symlink(version, path("..data_tmp")).expect("a link");
    std::fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_changed_corefile_takes_effect_and_loses_no_query() {
    let directory = tempfile::tempdir().expect("a directory");
    lay_out(directory.path(), "..1", &corefile(11));
    let file = directory.path().join("Corefile");
    symlink("..data/Corefile", &file).expect("a link");
    let server = start_file(&file, "127.0.0.1:0");
    fill(&server.stores[0]);
    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let ttl = || {
        let answer = show(&ask(server.address, "web.default.svc.cluster.local", Rtype::A));
        asked.fetch_add(1, Ordering::Relaxed);
        answer.split(' ').nth(3).and_then(|word| word.parse().ok()).unwrap_or(0_u32)
    };
    /// Ends the asking even when this test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_ne!(ttl(), 0, "every query is answered");
                }
            });
        }
        assert_eq!(ttl(), 11);
        for version in 2..8_u32 {
            lay_out(directory.path(), &format!("..{version}"), &corefile(10 + version));
            wait_until("the new Corefile is in effect", || ttl() == 10 + version);
        }
        lay_out(directory.path(), "..bad", ". {\n nonsense\n}");
        wait_until("the failure is counted", || {
            get(server.pages[0], "/metrics").1.contains("coredns_reload_failed_total 1")
        });
        assert_eq!(ttl(), 17, "the old one stays in effect");
        lay_out(directory.path(), "..good", &corefile(30));
        wait_until("a good one is taken again", || ttl() == 30);
    });
    assert!(asked.load(Ordering::Relaxed) > 50);
}

#[test]
fn a_lame_duck_goes_on_answering() {
    let server = start(
        ". {\n kubernetes cluster.local\n ready 127.0.0.1:0\n health 127.0.0.1:0 {\n lameduck 1s\n }\n}",
    );
    fill(&server.stores[0]);
    assert_eq!(get(server.pages[0], "/ready").0, 200);
    let begun = Instant::now();
    server.stop.cancel();
    wait_until("no new clients are wanted", || get(server.pages[0], "/ready").0 == 503);
    assert_eq!(data(&ask(server.address, "web.default.svc.cluster.local", Rtype::A)).len(), 1);
    assert_eq!(get(server.pages[0], "/health").0, 200);
    drop(server);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_changed_import_is_a_changed_corefile() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, part) = (directory.path().join("Corefile"), directory.path().join("part.conf"));
    let lay = |ttl: u32| {
        std::fs::write(&part, format!("kubernetes cluster.local {{\n ttl {ttl}\n}}\n"))
            .expect("written");
    };
    lay(11);
    std::fs::write(&file, ". {\n reload 2s\n import part.conf\n}").expect("written");
    let server = start_file(&file, "127.0.0.1:0");
    fill(&server.stores[0]);
    let has = |ttl: &str| {
        show(&ask(server.address, "web.default.svc.cluster.local", Rtype::A)).contains(ttl)
    };
    assert!(has(" 11 A "));
    lay(12);
    wait_until("the imported file is followed", || has(" 12 A "));
    std::fs::write(&part, "nonsense\n").expect("written");
    std::thread::sleep(Duration::from_millis(100));
    assert!(has(" 12 A "), "a bad one is not taken");
    lay(13);
    wait_until("and a good one again", || has(" 13 A "));
}
