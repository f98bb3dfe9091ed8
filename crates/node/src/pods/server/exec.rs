//! Commands in containers, with the client's input and output.

use std::{io, process::Stdio, sync::Arc};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use portolan_linux::{process::Process, pty};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
};

use super::{
    Answer, Query, logs, refusal,
    stream::{self, Reader, STDERR, STDOUT, Said, Writer},
};
use crate::pods::{Runtime, exec::command, report, worker::Running};

/// What is wanted of a command besides its arguments.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    input: bool,
    tty: bool,
}

pub(super) fn exec(
    runtime: Arc<Runtime>,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let found = runtime.views.lock().get(pod).and_then(|v| v.running.get(container).cloned());
    let Some(running) = found else {
        return refusal(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("container {container:?} of pod {pod:?} is not running"),
        );
    };
    let argv = query.all("command");
    if argv.is_empty() {
        return refusal(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "you must specify at least 1 command",
        );
    }
    let wanted = Wanted { input: query.on(&["input", "stdin"]), tty: query.on(&["tty"]) };
    stream::upgrade(request, move |reader, writer| run(running, argv, wanted, reader, writer))
}

/// A started command with its streams.
struct Started {
    process: Process,
    input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    terminal: Option<std::fs::File>,
}

fn start(running: &Running, argv: &[String], wanted: Wanted) -> Result<Started, String> {
    let io = |e: io::Error| e.to_string();
    let command = command(running, argv).map_err(|e| report(&e))?;
    if wanted.tty {
        let multiplexer = format!("/proc/{}/root/dev/pts/ptmx", running.pid);
        let (master, slave) = pty::open(multiplexer.as_ref()).map_err(|e| report(&e))?;
        let end = || slave.try_clone().map(Stdio::from).map_err(io);
        let process = command
            .stdin(end()?)
            .stdout(end()?)
            .stderr(end()?)
            .env("TERM", "xterm")
            .new_session_on_terminal()
            .spawn()
            .map_err(|e| report(&e))?;
        // Blocking threads do the reading and writing; the terminal's end wakes them.
        let read = tokio::fs::File::from_std(master.try_clone().map_err(io)?);
        let write = tokio::fs::File::from_std(master.try_clone().map_err(io)?);
        return Ok(Started {
            process,
            input: Some(Box::new(write)),
            output: Box::new(read),
            errors: None,
            terminal: Some(master),
        });
    }
    let (output, output_end) = io::pipe().map_err(io)?;
    let (errors, errors_end) = io::pipe().map_err(io)?;
    let (input_end, input) = io::pipe().map_err(io)?;
    let stdin = if wanted.input { Stdio::from(input_end) } else { Stdio::null() };
    let process = command
        .stdin(stdin)
        .stdout(output_end)
        .stderr(errors_end)
        .new_session()
        .spawn()
        .map_err(|e| report(&e))?;
    let input =
        wanted.input.then(|| pipe::Sender::from_owned_fd(input.into())).transpose().map_err(io)?;
    Ok(Started {
        process,
        input: input.map(|i| Box::new(i) as _),
        output: Box::new(pipe::Receiver::from_owned_fd(output.into()).map_err(io)?),
        errors: Some(Box::new(pipe::Receiver::from_owned_fd(errors.into()).map_err(io)?)),
        terminal: None,
    })
}

async fn run(
    running: Running,
    argv: Vec<String>,
    wanted: Wanted,
    reader: Reader,
    mut writer: Writer,
) {
    let handle = tokio::runtime::Handle::current();
    let started = tokio::task::spawn_blocking(move || {
        // Pipes are registered with the runtime.
        let _guard = handle.enter();
        start(&running, &argv, wanted)
    });
    let mut started = match started.await {
        Ok(Ok(started)) => started,
        Ok(Err(why)) => return writer.finish(&stream::failed(&why)).await,
        Err(e) => return writer.finish(&stream::failed(&e.to_string())).await,
    };
    {
        let typed = type_in(reader, started.input.take(), started.terminal.take());
        let shown = show(&mut writer, started.output, started.errors);
        tokio::pin!(typed, shown);
        // The client may have said all that it has to say before the command has.
        tokio::select! {
            () = &mut shown => {}
            () = &mut typed => {
                // Gone: nobody wants to hear the rest.
                let _ = started.process.signal(9);
            }
            // What it left running may hold its output open.
            _ = started.process.pidfd().end() => {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(200), &mut shown).await;
            }
        }
    }
    let _ = started.process.pidfd().end().await;
    let code = started.process.wait().map_or(-1, portolan_linux::process::Ended::shell_status);
    writer.finish(&stream::ended(code)).await;
}

/// Passes on what the client types, until it goes away.
async fn type_in(
    mut reader: Reader,
    mut input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    terminal: Option<std::fs::File>,
) {
    loop {
        match reader.next().await {
            Said::Input(bytes) => {
                if let Some(to) = &mut input
                    && (to.write_all(&bytes).await.is_err() || to.flush().await.is_err())
                {
                    input = None;
                }
            }
            Said::InputEnds => input = None,
            Said::Resize(columns, rows) => {
                if let Some(terminal) = &terminal {
                    let _ = pty::resize(terminal, columns, rows);
                }
            }
            Said::Gone => return,
        }
    }
}

/// Shows the command's output until both streams have ended.
async fn show(
    writer: &mut Writer,
    mut output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
) {
    let mut errors = errors.unwrap_or_else(|| Box::new(tokio::io::empty()));
    let (mut first, mut second) = (vec![0; 8192], vec![0; 8192]);
    let (mut output_open, mut errors_open) = (true, true);
    while output_open || errors_open {
        let (channel, data) = tokio::select! {
            n = output.read(&mut first), if output_open => (STDOUT, &first[..n.unwrap_or(0)]),
            n = errors.read(&mut second), if errors_open => (STDERR, &second[..n.unwrap_or(0)]),
        };
        if data.is_empty() {
            if channel == STDOUT { output_open = false } else { errors_open = false }
        } else if !writer.send(channel, data).await {
            return;
        }
    }
}

/// Shows what the container has printed and prints, to its end. It cannot be typed at.
pub(super) fn attach(
    runtime: Arc<Runtime>,
    pod: &str,
    container: &str,
    request: Request<Incoming>,
) -> Answer {
    let run = match logs::find(&runtime, pod, container, false) {
        Ok(run) => run,
        Err(why) => return refusal(StatusCode::NOT_FOUND, "NotFound", &why),
    };
    stream::upgrade(request, move |mut reader, mut writer| async move {
        let mut lines = logs::follow(run);
        let shown = async {
            while let Some(bytes) = lines.recv().await {
                for entry in bytes.split(|b| *b == b'\n').filter_map(logs::Entry::parse) {
                    let mut line = entry.text.to_vec();
                    if entry.whole {
                        line.push(b'\n');
                    }
                    if !writer.send(if entry.stderr { STDERR } else { STDOUT }, &line).await {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = shown => {}
            () = async { while reader.next().await != Said::Gone {} } => {}
        }
        writer.finish(&stream::ended(0)).await;
    })
}
