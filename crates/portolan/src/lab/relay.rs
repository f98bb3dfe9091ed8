//! The nodes' resolver: DNS questions to the switch's address go on to the host's own resolvers.
//!
//! The lab's namespaces have no way out. The supervisor, which lives in the host's network, opens
//! the listening sockets inside the switch's namespace and asks the host's resolvers from the
//! host's, so that names of the world resolve in the lab and nothing of the host is changed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use portolan_linux::netns::NetNs;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::paths::Paths;
use super::plan::{Plan, SWITCH};

/// How long one of the host's resolvers may take before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions under way at once; more are dropped, and asked again by whoever asks.
const CONCURRENT: usize = 256;

/// The relay's tasks, which end with it.
pub struct Relay {
    _tasks: JoinSet<()>,
}

/// Starts the relay and writes the nodes' resolv.conf, which points to it.
pub fn start(plan: &Plan, paths: &Paths) -> anyhow::Result<Relay> {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let upstreams: Arc<[SocketAddr]> = resolvers(&host).into();
    let switch = NetNs::open(paths.netns(SWITCH))?;
    let mut tasks = JoinSet::new();
    let mut conf = String::new();
    let places = Arc::new(Semaphore::new(CONCURRENT));
    for ip in plan.gateway.ips() {
        let address = SocketAddr::new(ip, 53);
        let (udp, tcp) = switch.run(|| -> std::io::Result<_> {
            let (udp, tcp) =
                (std::net::UdpSocket::bind(address)?, std::net::TcpListener::bind(address)?);
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        })??;
        tasks.spawn(relay_udp(UdpSocket::from_std(udp)?, Arc::clone(&upstreams), places.clone()));
        tasks.spawn(relay_tcp(TcpListener::from_std(tcp)?, Arc::clone(&upstreams), places.clone()));
        conf.push_str(&format!("nameserver {ip}\n"));
    }
    std::fs::write(paths.resolv_conf(), conf).context("cannot write the nodes' resolv.conf")?;
    Ok(Relay { _tasks: tasks })
}

/// The servers of a resolv.conf; the machine itself where it names none, as resolv.conf(5) has it.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let servers: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
        })
        .map(|ip| SocketAddr::new(ip, 53))
        .collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, 53).into()] } else { servers }
}

async fn relay_udp(socket: UdpSocket, upstreams: Arc<[SocketAddr]>, places: Arc<Semaphore>) {
    let socket = Arc::new(socket);
    let mut questions = JoinSet::new();
    let mut buffer = vec![0; 4096];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(_) = questions.join_next() => continue,
        };
        let Ok((length, asker)) = received else { continue };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (socket, upstreams) = (Arc::clone(&socket), Arc::clone(&upstreams));
        let question = buffer[..length].to_vec();
        questions.spawn(async move {
            for upstream in upstreams.iter() {
                if let Ok(Ok(answer)) = timeout(PATIENCE, ask_udp(&question, *upstream)).await {
                    let _ = socket.send_to(&answer, asker).await;
                    break;
                }
            }
            drop(place);
        });
    }
}

async fn ask_udp(question: &[u8], upstream: SocketAddr) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn relay_tcp(listener: TcpListener, upstreams: Arc<[SocketAddr]>, places: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((mut near, _)) = accepted else { continue };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let upstreams = Arc::clone(&upstreams);
        connections.spawn(async move {
            for upstream in upstreams.iter() {
                if let Ok(Ok(mut far)) = timeout(PATIENCE, TcpStream::connect(upstream)).await {
                    let copy = tokio::io::copy_bidirectional(&mut near, &mut far);
                    let _ = timeout(Duration::from_secs(30), copy).await;
                    break;
                }
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_resolvers() {
        let text =
            "# made by hand\nsearch example.org\nnameserver 192.0.2.1\nnameserver 2001:db8::1 \n";
        let expected =
            ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().expect("address"));
        assert_eq!(resolvers(text), expected);
        assert_eq!(resolvers(""), ["127.0.0.1:53".parse().expect("address")]);
    }

    #[tokio::test]
    async fn a_question_reaches_the_resolver_and_its_answer_the_asker() {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.expect("a resolver");
        let address = upstream.local_addr().expect("its address");
        let resolver = tokio::spawn(async move {
            let mut buffer = [0; 64];
            let (length, peer) = upstream.recv_from(&mut buffer).await.expect("a question");
            upstream.send_to(&buffer[..length], peer).await.expect("an answer");
        });
        let near = UdpSocket::bind("127.0.0.1:0").await.expect("the relay");
        let relay_address = near.local_addr().expect("its address");
        let relay = tokio::spawn(relay_udp(near, [address].into(), Arc::new(Semaphore::new(1))));
        let asker = UdpSocket::bind("127.0.0.1:0").await.expect("an asker");
        asker.send_to(b"question", relay_address).await.expect("asked");
        let mut buffer = [0; 64];
        let length = asker.recv(&mut buffer).await.expect("answered");
        assert_eq!(&buffer[..length], b"question");
        resolver.await.expect("the resolver");
        relay.abort();
    }
}
