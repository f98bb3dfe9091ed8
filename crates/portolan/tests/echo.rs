//! The built-in image `portolan/echo` as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

struct Echo {
    child: Child,
    http: u16,
    udp: u16,
    tcp: u16,
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn start() -> Echo {
    let (http, udp, tcp) = (free_port(), free_port(), free_port());
    let child = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["image", "echo", &format!("--http={http}")])
        .args([format!("--udp={udp}"), format!("--tcp={tcp}")])
        .env("POD_NAME", "web-0")
        .spawn()
        .expect("echo starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    let here = Ipv4Addr::LOCALHOST;
    let asked = UdpSocket::bind((here, 0)).expect("a socket");
    asked.connect((here, udp)).expect("a peer");
    asked.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let answers = || asked.send(b"hostname").and_then(|_| asked.recv(&mut [0; 256])).is_ok();
    let listens = |port| TcpStream::connect((here, port)).is_ok();
    while !(listens(http) && listens(tcp) && answers()) {
        assert!(Instant::now() < deadline, "echo does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    Echo { child, http, udp, tcp }
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    ask(&mut stream, path);
    answer(stream)
}

fn ask(stream: &mut TcpStream, path: &str) {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: echo\r\nX-Colour: blue\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
}

fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, body.to_owned())
}

#[test]
fn http_answers_as_documented_in_both_families() {
    let echo = start();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, echo.http));
    assert_eq!(get(v4, "/hostname"), (200, "web-0".to_owned()));
    assert_eq!(get(v4, "/echo?msg=a%20b"), (200, "a b".to_owned()));
    assert_eq!(get(v4, "/header?key=x-colour"), (200, "blue".to_owned()));
    assert_eq!(get(v4, "/healthz").0, 200);
    assert_eq!(get(v4, "/healthz?fail=1").0, 503);
    assert_eq!(get(v4, "/healthz").0, 503);
    assert_eq!(get(v4, "/healthz?fail=0").0, 200);
    assert_eq!(get(v4, "/nowhere").0, 404);
    let begun = Instant::now();
    assert_eq!(get(v4, "/sleep?ms=50").0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let peer: SocketAddr = get(v4, "/clientip").1.parse().expect("IP:PORT");
    assert_eq!(peer.ip(), Ipv4Addr::LOCALHOST);
    match TcpStream::connect((Ipv6Addr::LOCALHOST, echo.http)) {
        Ok(_) => {
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, echo.http));
            assert!(get(v6, "/clientip").1.starts_with("[::1]:"));
        }
        Err(error) => eprintln!("skipped: no IPv6 here: {error}"),
    }
}

#[test]
fn lines_are_answered_over_udp_and_tcp() {
    let echo = start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket.connect((Ipv4Addr::LOCALHOST, echo.udp)).expect("a peer");
    let mut buffer = [0; 256];
    for (line, wanted) in [
        ("hostname", "web-0\n".to_owned()),
        ("echo hello there", "hello there\n".to_owned()),
        ("clientip", format!("{}\n", socket.local_addr().expect("an address"))),
    ] {
        socket.send(line.as_bytes()).expect("sent");
        let length = socket.recv(&mut buffer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), wanted);
    }
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, echo.tcp)).expect("a connection");
    let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
    for (line, wanted) in [("hostname", "web-0"), ("echo x", "x")] {
        writeln!(&stream, "{line}").expect("sent");
        assert_eq!(lines.next().expect("a line").expect("an answer"), wanted);
    }
}

#[test]
fn sigterm_lets_what_is_under_way_finish() {
    let mut echo = start();
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, echo.http));
    let mut slow = TcpStream::connect(http).expect("a connection");
    ask(&mut slow, "/sleep?ms=300");
    let talk = TcpStream::connect((Ipv4Addr::LOCALHOST, echo.tcp)).expect("a connection");
    let mut lines = BufReader::new(talk.try_clone().expect("a clone")).lines();
    writeln!(&talk, "echo before").expect("sent");
    assert_eq!(lines.next().expect("a line").expect("an answer"), "before");

    let pid = rustix::process::Pid::from_child(&echo.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(http).is_ok() {
        assert!(Instant::now() < deadline, "echo still takes connections");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(answer(slow).0, 200);
    writeln!(&talk, "echo after").expect("sent");
    assert_eq!(lines.next().expect("a line").expect("an answer"), "after");
    drop((talk, lines));
    let status = echo.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

/// Between a node's choosing of a pod and the pod's hearing of its end, connections are made.
#[test]
fn sigterm_serves_whoever_is_connected() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut echo = start();
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, echo.http));
    let signal = |echo: &Echo, signal| {
        kill_process(Pid::from_child(&echo.child), signal).expect("a signal");
    };
    // Taken in by the program, but not yet asking.
    let mut idle = TcpStream::connect(http).expect("a connection");
    assert_eq!(get(http, "/hostname").0, 200);
    // In the kernel's queue when the end comes.
    signal(&echo, Signal::STOP);
    let mut queued: Vec<_> =
        (0..20).map(|_| TcpStream::connect(http).expect("a connection")).collect();
    queued.iter_mut().for_each(|stream| ask(stream, "/hostname"));
    signal(&echo, Signal::TERM);
    signal(&echo, Signal::CONT);
    ask(&mut idle, "/hostname");
    for stream in queued.into_iter().chain([idle]) {
        assert_eq!(answer(stream), (200, "web-0".to_owned()));
    }
    let status = echo.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}
