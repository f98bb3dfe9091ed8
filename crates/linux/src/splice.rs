//! Moving bytes from one socket to another inside the kernel: splice(2) through a pipe.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// More than a pipe holds by default (16 pages, pipe(7)); the kernel takes what there is room for.
const MOST: usize = 1 << 20;

/// A pipe with bytes on their way.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe: two file descriptors.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { out, into, held: 0 })
    }

    /// How many bytes it holds.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes in what a socket has to say right now; 0 is the end of its stream. Only an empty
    /// pipe has room for certain.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing, or no room; or the socket is broken.
    pub fn fill(&mut self, source: impl AsFd) -> io::Result<usize> {
        let moved = moved(|| splice(source.as_fd(), None, &self.into, None, MOST, FLAGS))?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives out what the socket takes right now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing; or the socket is broken.
    pub fn drain(&mut self, sink: impl AsFd) -> io::Result<usize> {
        let moved = moved(|| splice(&self.out, None, sink.as_fd(), None, self.held, FLAGS))?;
        self.held -= moved;
        Ok(moved)
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

fn moved(mut attempt: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Two ends of a connection that do not block.
    fn pair() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (a, b)
    }

    #[test]
    fn bytes_go_through_whole_and_in_order() {
        let (mut client, near) = pair();
        let (far, mut server) = pair();
        let mut pipe = Pipe::new().unwrap();
        let sent: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
        let mut written = 0;
        let mut heard = Vec::new();
        while heard.len() < sent.len() {
            written += client.write(&sent[written..]).unwrap_or(0);
            if pipe.held() == 0 {
                assert!(pipe.fill(&near).unwrap() > 0);
            }
            pipe.drain(&far).unwrap();
            let mut buffer = [0; 4096];
            while let Ok(length) = server.read(&mut buffer) {
                heard.extend_from_slice(&buffer[..length]);
            }
        }
        assert_eq!(heard, sent);
        assert_eq!(pipe.held(), 0);
        assert_eq!(pipe.fill(&near).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(client);
        assert_eq!(pipe.fill(&near).unwrap(), 0, "the end of the stream");
    }

    #[test]
    fn a_reader_that_does_not_read_is_told_apart_from_one_that_is_gone() {
        let (mut client, near) = pair();
        let (far, server) = pair();
        let mut pipe = Pipe::new().unwrap();
        let error = loop {
            let _ = client.write(&[0; 4096]);
            if pipe.held() == 0 {
                pipe.fill(&near).unwrap();
            }
            if let Err(error) = pipe.drain(&far) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(server);
        assert_eq!(pipe.drain(&far).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
