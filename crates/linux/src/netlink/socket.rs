use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recv, sendto, setsockopt, socket, sockopt,
};

use super::{Message, Messages, flags};

/// A request that the kernel refused, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot {what} over netlink")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// The kernel answered one message of the request with an error.
    #[error("the kernel refuses message {sequence}")]
    Refused {
        /// The sequence number of the first refused message.
        sequence: u32,
        #[source]
        source: io::Error,
    },
    /// The table went on changing while it was read.
    #[error("the kernel's table kept changing while it was read")]
    Unsteady,
}

impl NetlinkError {
    fn io(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Io { what, source: errno.into() }
    }

    /// Whether it takes rights that this process does not have.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Refused { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Unsteady => false,
        }
    }

    /// Whether something was there that had not been told, or was not there although it had.
    pub fn is_clash(&self) -> bool {
        matches!(self.refusal(), Some(libc::EEXIST | libc::ENOENT))
    }

    /// Whether the object named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.refusal() == Some(libc::ENOENT)
    }

    /// The error number with which the kernel refused.
    pub fn refusal(&self) -> Option<i32> {
        let Self::Refused { source, .. } = self else { return None };
        source.raw_os_error()
    }
}

/// What became of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// It is what the table held all the time.
    Steady,
    /// All was told, but something in the subsystem changed meanwhile.
    Disturbed,
    /// Not all was told.
    Cut,
}

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A netlink socket for netfilter's subsystems, the table of sockets or generic netlink, in the
/// network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// The kernel fills dumps in chunks of at most 32 KiB.
    const RECEIVE_LEN: usize = 64 * 1024;
    /// How often an interrupted dump is taken again.
    pub const DUMP_ATTEMPTS: usize = 8;

    /// Opens a socket to netfilter. Any user may; requests need `CAP_NET_ADMIN`.
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkNetFilter, 0, "open a netfilter socket")
    }

    /// Opens a socket that hears of what netfilter tells one of its first 32 groups of listeners.
    pub fn of_netfilter_group(group: u32) -> Result<Self, NetlinkError> {
        let groups = 1 << (group - 1);
        Self::open(SockProtocol::NetlinkNetFilter, groups, "listen to netfilter")
    }

    /// Opens a socket to the kernel's table of sockets.
    pub fn sock_diag() -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkSockDiag, 0, "open a socket for socket diagnosis")
    }

    /// Opens a socket to the families of generic netlink.
    pub fn generic() -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkGeneric, 0, "open a socket for generic netlink")
    }

    fn open(protocol: SockProtocol, groups: u32, what: &'static str) -> Result<Self, NetlinkError> {
        let open = NetlinkError::io(what);
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(&open)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(&open)?;
        setsockopt(&fd, sockopt::RcvBufForce, &(4 << 20))
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &(1 << 20)))
            .map_err(&open)?;
        let own: NetlinkAddr = getsockname(fd.as_raw_fd()).map_err(&open)?;
        Ok(Self { fd, port: own.pid(), sequence: 0, buffer: Vec::new() })
    }

    /// The number by which others in the network namespace know this socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Hands every message that has come by itself to `each`. Returns false when some were lost,
    /// because there were more than the buffer holds.
    pub fn hear(&mut self, mut each: impl FnMut(Message<'_>)) -> Result<bool, NetlinkError> {
        let mut complete = true;
        loop {
            match self.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(length) => Messages::new(&self.buffer[..length]).for_each(&mut each),
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => complete = false,
                Err(errno) => return Err(NetlinkError::io("hear of changes")(errno)),
            }
        }
        self.release();
        Ok(complete)
    }

    /// A sequence number for the next message.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends a batch as one datagram, which the kernel takes or refuses as a whole, and collects
    /// what it answers. At least one message of the batch must ask for an acknowledgement.
    ///
    /// # Errors
    /// The first message that the kernel refused, or failure to send.
    pub fn transact(&mut self, batch: &[u8]) -> Result<(), NetlinkError> {
        self.send(batch)?;
        // The kernel works through a batch inside the system call, so every answer is there.
        let mut refused: Option<NetlinkError> = None;
        let mut acknowledged = false;
        let mut lost: Option<NetlinkError> = None;
        loop {
            let length = match self.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) if acknowledged || refused.is_some() || lost.is_some() => break,
                Err(Errno::EAGAIN) => {
                    self.receive(MsgFlags::empty()).map_err(NetlinkError::io("hear"))?
                }
                // So many errors that some were lost. This is told before the first ones are.
                Err(Errno::ENOBUFS) => {
                    lost =
                        Some(NetlinkError::io("hear all of the kernel's answer")(Errno::ENOBUFS));
                    continue;
                }
                Err(errno) => return Err(NetlinkError::io("hear the kernel's answer")(errno)),
            };
            for message in Messages::new(&self.buffer[..length]) {
                if message.header.kind != ERROR {
                    continue;
                }
                match message.code() {
                    0 => acknowledged = true,
                    code => {
                        let source = io::Error::from_raw_os_error(-code);
                        let sequence = message.header.sequence;
                        refused.get_or_insert(NetlinkError::Refused { sequence, source });
                    }
                }
            }
        }
        self.release();
        refused.or(lost).map_or(Ok(()), Err)
    }

    /// Sends one request with [`flags::DUMP`] and hands every message of the answer to `each`.
    ///
    /// When the kernel says that its table changed meanwhile, `restart` is called and the dump is
    /// taken again.
    pub fn dump<C>(
        &mut self,
        request: &[u8],
        context: &mut C,
        mut each: impl FnMut(&mut C, Message<'_>),
        mut restart: impl FnMut(&mut C),
    ) -> Result<(), NetlinkError> {
        for _ in 0..Self::DUMP_ATTEMPTS {
            if self.dump_once(request, |message| each(context, message))? == Dumped::Steady {
                return Ok(());
            }
            restart(context);
        }
        Err(NetlinkError::Unsteady)
    }

    /// The same, once.
    pub fn dump_once(
        &mut self,
        request: &[u8],
        each: impl FnMut(Message<'_>),
    ) -> Result<Dumped, NetlinkError> {
        let result = self.take_dump(request, each);
        self.release();
        result
    }

    fn take_dump(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(Message<'_>),
    ) -> Result<Dumped, NetlinkError> {
        self.send(request)?;
        let mut dumped = Dumped::Steady;
        loop {
            let length =
                self.receive(MsgFlags::empty()).map_err(NetlinkError::io("read a table"))?;
            for message in Messages::new(&self.buffer[..length]) {
                if message.header.flags & flags::DUMP_INTERRUPTED != 0 {
                    dumped = Dumped::Disturbed;
                }
                match message.header.kind {
                    DONE | ERROR => match message.code() {
                        0 => return Ok(dumped),
                        code if -code == libc::EINTR || -code == libc::EAGAIN => {
                            return Ok(Dumped::Cut);
                        }
                        code => {
                            return Err(NetlinkError::Refused {
                                sequence: message.header.sequence,
                                source: io::Error::from_raw_os_error(-code),
                            });
                        }
                    },
                    _ => each(message),
                }
            }
        }
    }

    /// Sends one request that is answered by one message.
    pub fn ask<T>(
        &mut self,
        request: &[u8],
        read: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        self.send(request)?;
        let length =
            self.receive(MsgFlags::empty()).map_err(NetlinkError::io("hear the answer"))?;
        for message in Messages::new(&self.buffer[..length]) {
            if message.header.kind == ERROR && message.code() != 0 {
                return Err(NetlinkError::Refused {
                    sequence: message.header.sequence,
                    source: io::Error::from_raw_os_error(-message.code()),
                });
            }
            if let Some(answer) = read(message) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), NetlinkError> {
        self.make_room(bytes.len())?;
        loop {
            match sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(NetlinkError::io("send a request")(errno)),
            }
        }
    }

    /// A datagram has to fit the send buffer, of which the kernel counts its overhead too.
    fn make_room(&self, length: usize) -> Result<(), NetlinkError> {
        const DEFAULT: usize = 64 * 1024;
        if length <= DEFAULT {
            return Ok(());
        }
        let wanted = length + length / 8 + DEFAULT;
        setsockopt(&self.fd, sockopt::SndBufForce, &wanted)
            .map_err(NetlinkError::io("enlarge the send buffer"))
    }

    fn receive(&mut self, how: MsgFlags) -> Result<usize, Errno> {
        self.buffer.resize(Self::RECEIVE_LEN, 0);
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, how) {
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    }

    /// An idle socket holds no buffer.
    fn release(&mut self) {
        self.buffer = Vec::new();
    }
}
