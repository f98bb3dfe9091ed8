use std::{
    io::{Read, Seek, Write},
    process::Stdio,
    time::Duration,
};

use super::*;
use crate::{
    namespace::{self, Kind},
    netns::{self, NetNs},
};

fn output(spawn: Spawn) -> (String, i32) {
    let mut process = spawn.stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    process.take_stdout().unwrap().read_to_string(&mut text).unwrap();
    (text.trim_end().to_owned(), process.wait().unwrap().shell_status())
}

#[test]
fn a_process_runs_in_its_namespaces_with_its_status_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let (net, uts) = (dir.path().join("net"), dir.path().join("uts"));
    namespace::create(&[(Kind::Net, &net), (Kind::Uts, &uts)], || {
        nix::unistd::sethostname("inside").unwrap();
        Ok(())
    })
    .unwrap();
    let ns = NetNs::open(&net).unwrap();
    let spawn = Spawn::new("sh")
        .args(["-c", "hostname; readlink /proc/self/ns/net; pwd; ls /sys/class/net; exit 7"])
        .netns(&ns)
        .namespace(&Namespace::open(Kind::Uts, &uts).unwrap())
        .own_sysfs()
        .new_session()
        .directory("/usr");
    let (text, status) = output(spawn);
    let id = ns.id().unwrap();
    assert_eq!(text, format!("inside\nnet:[{id}]\n/usr\nlo"));
    assert_eq!(status, 7);
    // The mounts made for it are gone with it.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(mounts.lines().filter(|l| l.contains(" /sys ")).count(), 1);
    for path in [net, uts] {
        netns::remove(path).unwrap();
    }
}

#[test]
fn entering_a_pid_namespace_passes_status_and_signals() {
    let make = |script: &str| {
        // A namespace's first process: unshare(1) forks into a new PID namespace.
        let mut first = Spawn::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "sh", "-c", "echo $$; read forever"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 2];
        first.take_stdout().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"1\n");
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", first.id())).unwrap();
        let init: u32 = children.trim().parse().unwrap();
        let inside = namespaces_of(init).unwrap();
        assert_eq!(inside.len(), 2, "pid and mount namespaces differ");
        let spawn = inside.iter().fold(Spawn::new("sh").args(["-c", script]), Spawn::namespace);
        (first, spawn)
    };
    let (mut first, spawn) = make("echo $$ $(ls -d /proc/[0-9]* | wc -l); exit 3");
    let (text, status) = output(spawn);
    assert_eq!(status, 3);
    assert!(text.starts_with("2 "), "{text}");
    first.take_stdin().unwrap().write_all(b"\n").unwrap();
    assert!(first.wait().unwrap().success());

    let (mut first, spawn) = make("trap 'exit 5' TERM; echo ready; while :; do read x; done");
    let mut process = spawn.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    process.take_stdout().unwrap().read_exact(&mut line).unwrap();
    process.signal(libc::SIGTERM).unwrap();
    drop(process.take_stdin());
    assert_eq!(process.wait().unwrap().code(), Some(5));
    first.take_stdin().unwrap().write_all(b"\n").unwrap();
    first.wait().unwrap();

    let (mut first, spawn) = make("kill -USR1 $$");
    let (_, status) = output(spawn);
    assert_eq!(status, 128 + libc::SIGUSR1);
    first.take_stdin().unwrap().write_all(b"\n").unwrap();
    first.wait().unwrap();
}

#[test]
fn descriptors_arrive_where_they_were_sent_even_when_they_cross() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let mut file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(dir.path().join(name))
            .unwrap();
        write!(file, "{name}").unwrap();
        file.rewind().unwrap();
        file
    };
    let (a, b) = (file("a"), file("b"));
    let (text, _) = output(
        Spawn::new("sh")
            .args(["-c", "cat <&3; cat <&4; cat <&9"])
            .descriptor(&b, 3)
            .descriptor(&a, 4)
            .descriptor(file("c"), 9),
    );
    assert_eq!(text, "bac");
}

#[test]
fn what_cannot_start_says_so() {
    let e = Spawn::new("/no/such/program").spawn().unwrap_err();
    assert!(e.missing());
    assert_eq!(e.to_string(), "start /no/such/program");
    let e = Spawn::new("true").cgroup(&Cgroup::existing("/no/such/group")).spawn().unwrap_err();
    assert!(e.missing());
    let e = Spawn::new("true").descriptor(std::io::stdin(), 1).spawn().unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_process_is_known_by_number_and_start() {
    let mut process = Spawn::new("sleep").arg("1000").spawn().unwrap();
    let start = start_time(process.id()).unwrap();
    assert!(Pidfd::open_started(process.id(), start + 1).unwrap_err().missing());
    let other = Pidfd::open_started(process.id(), start).unwrap();
    assert!(!other.ended());
    other.signal(libc::SIGKILL).unwrap();
    assert!(other.wait_ended(Duration::from_secs(5)));
    assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGKILL));
    other.signal(libc::SIGTERM).unwrap();
    assert!(inherited(1).is_err());
    assert!(inherited(987).is_err());
}

#[test]
fn pages_of_files_are_given_back_and_come_back() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    forget_file_pages();
    assert!(resident() < before);
    // Everything still works.
    assert_eq!(output(Spawn::new("echo").arg("here")), ("here".to_owned(), 0));
}
