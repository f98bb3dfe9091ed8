//! Container logs in the form that the Container Runtime Interface gives them: per line a time,
//! the stream, `F` or `P` (a part of a longer line), and the text.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use portolan_linux::process::{Pidfd, wait_readable};

/// Longer lines are written in parts. In bytes.
const LONGEST: usize = 16 * 1024;
/// A log of this size is moved aside to `….1`. In bytes.
const ROTATE: u64 = 10 * 1024 * 1024;

/// A container's log file.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Writer {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, path: path.to_owned(), size })
    }

    fn write(&mut self, bytes: &[u8]) {
        // A full disk must not end the container: what cannot be written is lost.
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
        if self.size > ROTATE {
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(fresh) = Self::open(&self.path) {
                *self = fresh;
            }
        }
    }
}

/// One stream of a container's output, with the line that has no end yet.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    pipe: Option<File>,
    line: Vec<u8>,
}

impl Stream {
    /// Reads once; the pipe is given up at its end.
    fn pump(&mut self, out: &mut Writer) {
        let mut chunk = [0; 8192];
        let read = match &mut self.pipe {
            Some(pipe) => pipe.read(&mut chunk),
            None => return,
        };
        match read {
            Ok(n) if n > 0 => {
                let text = format_lines(&mut self.line, &chunk[..n], self.name, &now());
                out.write(&text);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => self.finish(out),
        }
    }

    fn finish(&mut self, out: &mut Writer) {
        self.pipe = None;
        if !self.line.is_empty() {
            let text = format_lines(&mut self.line, b"\n", self.name, &now());
            out.write(&text);
        }
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// Adds `bytes` to the unfinished `line` and returns all that is complete as log entries.
fn format_lines(line: &mut Vec<u8>, bytes: &[u8], stream: &str, time: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut entry = |tag: &str, text: &[u8]| {
        out.extend_from_slice(format!("{time} {stream} {tag} ").as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    };
    for part in bytes.split_inclusive(|b| *b == b'\n') {
        match part.strip_suffix(b"\n") {
            Some(text) => {
                line.extend_from_slice(text);
                entry("F", line);
                line.clear();
            }
            None => line.extend_from_slice(part),
        }
        while line.len() > LONGEST {
            let rest = line.split_off(LONGEST);
            entry("P", line);
            *line = rest;
        }
    }
    out
}

/// Writes both streams to the log until the container has ended and nothing more comes.
pub(super) fn follow(
    out: &mut Writer,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    container: &Pidfd,
) {
    let stream =
        |name, pipe: Option<OwnedFd>| Stream { name, pipe: pipe.map(File::from), line: Vec::new() };
    let mut streams = [stream("stdout", stdout), stream("stderr", stderr)];
    let mut ended = false;
    loop {
        let mut fds: Vec<_> =
            streams.iter().filter_map(|s| s.pipe.as_ref()).map(AsFd::as_fd).collect();
        let pipes = fds.len();
        if ended && pipes == 0 {
            return;
        }
        if !ended {
            fds.push(container.as_fd());
        }
        // After the end only what is already in the pipes counts: a process that was handed the
        // pipe elsewhere must not keep the container alive.
        let timeout = ended.then_some(std::time::Duration::ZERO);
        let Ok(readable) = wait_readable(&fds, timeout) else { return };
        if ended && !readable.iter().any(|r| *r) {
            break;
        }
        drop(fds);
        let open: Vec<_> = (0..2).filter(|i| streams[*i].pipe.is_some()).collect();
        for (i, readable) in open.into_iter().zip(&readable) {
            if *readable {
                streams[i].pump(out);
            }
        }
        ended = ended || readable.get(pipes).copied().unwrap_or(false);
    }
    for stream in &mut streams {
        stream.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_carry_time_stream_and_tag() {
        let mut line = Vec::new();
        let text = format_lines(&mut line, b"one\ntwo\nthr", "stdout", "T");
        assert_eq!(text, b"T stdout F one\nT stdout F two\n");
        assert_eq!(format_lines(&mut line, b"ee\n", "stdout", "T"), b"T stdout F three\n");
        let long = vec![b'x'; LONGEST + 3];
        let text = format_lines(&mut line, &long, "stderr", "T");
        assert!(text.starts_with(b"T stderr P xxx") && text.len() == LONGEST + 12);
        assert_eq!(format_lines(&mut line, b"\n", "stderr", "T"), b"T stderr F xxx\n");
    }

    proptest! {
        #[test]
        fn how_output_is_cut_into_reads_does_not_matter(text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..300), cut in 1usize..20) {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            let expected = format_lines(&mut whole, &text, "stdout", "T");
            let mut found = Vec::new();
            for chunk in text.chunks(cut) {
                found.extend(format_lines(&mut parts, chunk, "stdout", "T"));
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(whole, parts);
        }
    }
}
