//! The built-in image of the tests: a server that answers, and programs that end.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

pub(crate) fn main(args: &[String]) {
    match args.first().map(String::as_str) {
        Some("serve") => serve(args.get(1).map_or("8080", String::as_str)),
        _ => std::process::exit(64),
    }
}

/// Answers every request with the host's name; after `/fail` with errors.
fn serve(port: &str) {
    let listener = TcpListener::bind(format!("[::]:{port}")).expect("a port");
    let mut failing = false;
    println!("serving on {port}");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut request = [0; 1024];
        let n = stream.read(&mut request).unwrap_or(0);
        let path =
            String::from_utf8_lossy(&request[..n]).split(' ').nth(1).unwrap_or("").to_owned();
        failing = match path.as_str() {
            "/fail" => true,
            "/mend" => false,
            _ => failing,
        };
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let status = if failing { "500 Broken" } else { "200 OK" };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
            name.len()
        );
    }
}
