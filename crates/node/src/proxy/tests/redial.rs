//! Mode `ebpf`: connected UDP sockets, which pass no hook any more, when their pod goes.

use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::datapath::Redialled;
use super::lab::Lab;
use super::socket::{POD, VIP, map, talk, translated, udp};
use super::*;
use crate::proxy::conntrack::Sweeper;

const VIP6: &str = "[fd00:10:96::9]:80";
const MAPPED: &str = "[::ffff:10.96.0.9]:80";

fn pods(v4: &[&str], v6: &[&str]) -> Vec<Event> {
    let mut v6 = slice(v6);
    v6.name = ObjectName::new("default", "blue-v6");
    v6.address_type = AddressType::Ipv6;
    vec![Event::Service(blue()), Event::EndpointSlice(slice(v4)), Event::EndpointSlice(v6)]
}

fn dialled(lab: &Lab, here: &str, to: &str) -> UdpSocket {
    let socket = udp(lab, here);
    lab.at(ip(POD)).run(|| socket.connect(to).unwrap());
    socket
}

/// Sends one line and hears who answers it.
fn ask(socket: &UdpSocket) -> Result<String, ErrorKind> {
    let mut buffer = [0; 200];
    socket.send(b"who").map_err(|error| error.kind())?;
    let length = socket.recv(&mut buffer).map_err(|error| error.kind())?;
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    Ok(text.split_whitespace().next().unwrap().to_owned())
}

/// Hears of events as the proxy would, while the pod lives.
fn follow(lab: &Lab, proxy: &mut Proxy<'_>, events: Vec<Event>) -> Redialled {
    let (_, changes) = proxy.hear(events);
    let mut sweeper = Sweeper::default();
    sweeper.note(&changes, []);
    assert!(sweeper.concerns_udp());
    let (snapshot, desired, datapath) = (&proxy.snapshot, &proxy.desired, &mut proxy.datapath);
    let done = lab.at(ip(POD)).while_it_lives(|| {
        datapath.redial_stale(&mut |dialled, backend| {
            sweeper.is_stale_socket(snapshot, desired, dialled, backend)
        })
    });
    lab.node.run(|| sweep(&mut sweeper, snapshot, desired)).unwrap();
    done.unwrap()
}

#[test]
fn connected_sockets_move_when_their_pod_goes() {
    let lab = Lab::new("ebpf");
    let first = pods(&["10.244.1.2"], &["fd00:10:244:1::2"]);
    let mut proxy = Proxy::start_with(&lab, view(), first);
    let loose = udp(&lab, "0.0.0.0:0");
    assert_eq!(talk(&lab, &loose, VIP).1, to("10.244.1.2:8080"));
    let fixed = [("0.0.0.0:0", VIP), ("[::]:0", VIP6), ("[::]:0", MAPPED)]
        .map(|(here, there)| dialled(&lab, here, there));
    let copy = fixed[0].try_clone().unwrap();
    let waiting = dialled(&lab, "0.0.0.0:0", VIP);
    waiting.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let direct = dialled(&lab, "0.0.0.0:0", "10.244.1.2:8080");
    assert_eq!(map(&lab, "connected").entries().unwrap().len(), 4);
    let names = || fixed.each_ref().map(|socket| socket.local_addr().unwrap());
    let before = names();
    let ears = waiting.try_clone().unwrap();
    let heard = std::thread::spawn(move || ears.recv(&mut [0; 200]));

    let second = pods(&["10.244.2.2"], &["fd00:10:244:2::2"]);
    let done = follow(&lab, &mut proxy, second);
    assert_eq!(done, Redialled { moved: 4, ended: 0 }, "each once, however many descriptors");
    assert_eq!(talk(&lab, &loose, VIP), (to(VIP), to("10.244.2.2:8080")), "followed by itself");
    for (socket, there) in fixed.iter().zip([VIP, VIP6, MAPPED]) {
        let v6 = there == VIP6;
        let now = if v6 { "[fd00:10:244:2::2]:8080" } else { "10.244.2.2:8080" };
        assert_eq!(ask(socket).unwrap(), now, "{there}");
        let peer = lab.at(ip(POD)).run(|| socket.peer_addr().unwrap());
        assert_eq!(peer, there.parse::<SocketAddr>().unwrap());
    }
    assert_eq!(names(), before, "its own address stays");
    assert_eq!(ask(&copy).unwrap(), "10.244.2.2:8080");
    waiting.send(b"who").unwrap();
    assert!(heard.join().unwrap().unwrap() > 0, "who waited hears the new one");
    assert_eq!(ask(&direct).unwrap(), "10.244.1.2:8080", "who dialled the pod itself stays there");
    assert_eq!(translated(&lab), 0);
    assert_eq!(map(&lab, "connected").entries().unwrap().len(), 4);
    drop((fixed, copy, waiting));
    assert_eq!(map(&lab, "connected").entries().unwrap().len(), 0, "closed ones are forgotten");
}

#[test]
fn without_any_pod_the_tables_refuse_and_serve_again() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), pods(&["10.244.1.2"], &["fd00:10:244:1::2"]));
    let fixed = [("0.0.0.0:0", VIP), ("[::]:0", VIP6)].map(|(here, to)| dialled(&lab, here, to));
    let done = follow(&lab, &mut proxy, pods(&[], &[]));
    assert_eq!(done, Redialled { moved: 2, ended: 0 });
    assert_eq!(map(&lab, "connected").entries().unwrap().len(), 0);
    for socket in &fixed {
        assert_eq!(ask(socket), Err(ErrorKind::ConnectionRefused));
    }
    follow(&lab, &mut proxy, pods(&["10.244.2.2"], &["fd00:10:244:2::2"]));
    assert_eq!(ask(&fixed[0]).unwrap(), "10.244.2.2:8080");
    assert_eq!(ask(&fixed[1]).unwrap(), "[fd00:10:244:2::2]:8080");
    assert_eq!(translated(&lab), 2);
}

#[test]
fn a_socket_that_dialled_elsewhere_meanwhile_is_left_alone() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), pods(&["10.244.1.2"], &[]));
    let socket = dialled(&lab, "0.0.0.0:0", VIP);
    // What a connect(2) that no program saw leaves in the map.
    lab.at(ip(POD)).run(|| socket.connect("10.244.1.3:8080").unwrap());
    let connected = map(&lab, "connected");
    assert_eq!(connected.entries().unwrap().len(), 0, "a program saw it");
    let other = dialled(&lab, "0.0.0.0:0", VIP);
    let entries = connected.entries().unwrap();
    lab.at(ip(POD)).run(|| other.connect("10.244.1.3:8080").unwrap());
    connected.put(&entries.keys, &entries.values).unwrap();
    let done = follow(&lab, &mut proxy, pods(&["10.244.2.2"], &[]));
    assert_eq!(done, Redialled::default());
    assert_eq!(ask(&socket).unwrap(), "10.244.1.3:8080");
    assert_eq!(ask(&other).unwrap(), "10.244.1.3:8080");
    assert_eq!(connected.entries().unwrap().len(), 0, "and not asked about again");
}

/// A socket that no process holds, as it is on its way from one to another.
fn post(socket: UdpSocket) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sent = [socket.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&sent)));
    sendmsg(&near, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty()).unwrap();
    far
}

fn receive(post: &UnixStream) -> UdpSocket {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(post, &mut buffers, &mut ancillary, RecvFlags::empty()).unwrap();
    let mut fds = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<OwnedFd>>(),
        _ => vec![],
    });
    fds.next().unwrap().into()
}

#[test]
fn a_socket_whose_owner_is_not_found_is_ended() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), pods(&["10.244.1.2"], &[]));
    let posted = post(dialled(&lab, "0.0.0.0:0", VIP));
    let done = follow(&lab, &mut proxy, pods(&["10.244.2.2"], &[]));
    assert_eq!(done, Redialled { moved: 0, ended: 1 });
    let socket = receive(&posted);
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    lab.at(ip(POD)).run(|| socket.connect(VIP).unwrap());
    assert_eq!(ask(&socket).unwrap(), "10.244.2.2:8080", "its owner dials again");
}
