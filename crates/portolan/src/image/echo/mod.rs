//! `portolan/echo`: answers over HTTP, UDP and TCP who and where it is.
//!
//! SIGTERM closes the listeners and lets what is under way finish: who has connected may still ask,
//! an HTTP request is answered, an open TCP connection goes on until its client closes it.

mod http;
mod line;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use portolan_linux::datagram;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the container answers with and for.
#[derive(Debug)]
pub(super) struct Identity {
    /// The pod's name.
    name: String,
    /// Set by `/healthz?fail=1`.
    failing: AtomicBool,
}

#[derive(Debug, Parser)]
#[command(name = "echo", about = "Answers over HTTP, UDP and TCP who and where it is")]
struct Args {
    /// Port of the HTTP server; 0 for none.
    #[arg(long, default_value_t = 8080)]
    http: u16,
    /// Port that answers lines over UDP; 0 for none.
    #[arg(long, default_value_t = 8081)]
    udp: u16,
    /// Port that answers lines over TCP; none unless given.
    #[arg(long, default_value_t = 0)]
    tcp: u16,
}

pub(super) fn run(args: &[std::ffi::OsString]) -> anyhow::Result<()> {
    let name = std::ffi::OsString::from("echo");
    let args = Args::parse_from(std::iter::once(&name).chain(args));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let identity = Arc::new(Identity { name: pod_name(), failing: AtomicBool::new(false) });
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    if args.http != 0 {
        let listener = tcp_listener(args.http)?;
        tasks.spawn(http::serve(listener, Arc::clone(&identity), stop.clone(), tasks.clone()));
    }
    if args.tcp != 0 {
        let listener = tcp_listener(args.tcp)?;
        tasks.spawn(line::serve_tcp(listener, Arc::clone(&identity), stop.clone(), tasks.clone()));
    }
    if args.udp != 0 {
        let socket = udp_socket(args.udp)?;
        tasks.spawn(line::serve_udp(socket, Arc::clone(&identity), stop.clone()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// The pod's name: told by the downward API where the pod shares its node's host name, else the
/// host name, which is the pod's own.
fn pod_name() -> String {
    std::env::var("POD_NAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A listener that hears both families, or IPv4 alone where the kernel has no IPv6.
fn dual_stack(port: u16) -> std::io::Result<std::net::TcpListener> {
    let (socket, address) = match Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            (socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        }
        Err(_) => (
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?,
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ),
    };
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn tcp_listener(port: u16) -> anyhow::Result<TcpListener> {
    let listener = dual_stack(port).with_context(|| format!("cannot listen on TCP port {port}"))?;
    Ok(TcpListener::from_std(listener)?)
}

fn udp_socket(port: u16) -> anyhow::Result<UdpSocket> {
    let socket = datagram::bind((Ipv6Addr::UNSPECIFIED, port).into())
        .or_else(|_| datagram::bind((Ipv4Addr::UNSPECIFIED, port).into()))
        .with_context(|| format!("cannot listen on UDP port {port}"))?;
    Ok(UdpSocket::from_std(socket)?)
}

/// The next connection. After `stop` come those that the kernel already took in, which closing the
/// listener would reset, and then none.
async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return waiting(listener).ok(),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            // Out of descriptors, or the peer is already gone: let others finish first.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Asks the kernel itself: the runtime may not have heard of the newest ones.
fn waiting(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    let peer = peer.as_socket().ok_or(std::io::ErrorKind::Unsupported)?;
    Ok((TcpStream::from_std(socket.into())?, peer))
}

/// The peer as a client writes it: an IPv4 peer of a dual-stack socket is an IPv4 address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
