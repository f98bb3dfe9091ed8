//! Pods that really run, on a node that is a network namespace, against the real API server.
//!
//! This program has no test harness: it is also the program whose hidden commands are the shim
//! and a built-in image. Run plainly, it moves itself into a new network namespace and runs the
//! tests there; arguments choose tests by part of their names.

#![allow(clippy::print_stdout)]

mod pods {
    pub(crate) mod lab;
    pub(crate) mod lifecycle;
    pub(crate) mod probes;
    pub(crate) mod program;
    pub(crate) mod view;
}

use std::{path::Path, time::Instant};

use pods::{lab::Lab, lifecycle, probes, program, view};
use portolan_linux::{
    cgroup,
    netns::{self, NetNs},
    process::Spawn,
};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("shim") => {
            std::process::exit(portolan_node::pods::shim::main(args[1..].iter().map(Into::into)))
        }
        Some("image") => program::main(&args[1..]),
        Some("--inside") => inside(Path::new(&args[1]), &args[2..]),
        _ => outside(&args),
    }
}

/// Makes the namespace that is the node, and runs the tests in it.
fn outside(args: &[String]) {
    if args.iter().any(|a| a == "--list") {
        return;
    }
    if let Err(e) = cgroup::root() {
        println!("skipped: these tests need cgroup2, and {e}");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("netns");
    let node = match NetNs::create(&path) {
        Ok(node) => node,
        Err(e) => {
            println!("skipped: these tests need root: {e}");
            return;
        }
    };
    let program = std::env::current_exe().expect("a path");
    let names = args.iter().filter(|a| !a.starts_with('-'));
    let mut inside = Spawn::new(program)
        .arg("--inside")
        .arg(dir.path())
        .args(names)
        .netns(&node)
        .spawn()
        .expect("started");
    let ended = inside.wait().expect("ended");
    netns::remove(&path).expect("removed");
    let left = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let left: Vec<_> =
        left.lines().filter(|l| l.contains(dir.path().to_str().expect("text"))).collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
    std::process::exit(ended.shell_status());
}

fn inside(dir: &Path, names: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut failed = 0;
    for (name, test) in TESTS {
        if !names.is_empty() && !names.iter().any(|n| name.contains(n.as_str())) {
            continue;
        }
        let start = Instant::now();
        let result = runtime.block_on(async {
            let lab = Lab::start(&dir.join(name)).await;
            let task = tokio::spawn(test(lab.clone()));
            let result = task.await;
            lab.stop().await;
            result
        });
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({} ms)", start.elapsed().as_millis());
        failed += i32::from(result.is_err());
    }
    std::process::exit(i32::from(failed > 0));
}

type Test = fn(Lab) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        const TESTS: &[(&str, Test)] = &[$((stringify!($name), |lab| Box::pin($module::$name(lab)))),*];
    };
}

tests![
    lifecycle::a_pod_becomes_ready_at_once_and_leaves_nothing,
    lifecycle::containers_are_restarted_with_growing_patience,
    lifecycle::init_containers_run_in_order_and_jobs_end,
    lifecycle::ending_takes_the_hook_and_the_grace_period,
    lifecycle::pods_outlive_their_agent,
    lifecycle::remains_of_pods_are_cleared_away,
    lifecycle::images_may_come_later,
    view::a_container_sees_what_kubernetes_promises,
    view::volumes_follow_their_sources,
    view::kubectl_reads_logs_and_runs_commands,
    view::kubectl_forwards_ports,
    probes::probes_decide_readiness_and_restarts,
];
