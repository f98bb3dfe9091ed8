//! The time from starting a program to the first request that its API server answers.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_tests::kubeconfig::Kubeconfig;
use serde_json::json;

use crate::load::{connect, connector, exchange};

const LIMIT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kubeconfig that the program writes
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let mut child = Command::new(&arguments.program[0])
        .args(&arguments.program[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the program")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(async {
        loop {
            let attempt = ask(&arguments.kubeconfig).await;
            match attempt {
                Ok(()) => return Ok(started.elapsed()),
                Err(error) if started.elapsed() > LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
    child.kill()?;
    let output = child.wait_with_output()?;
    let took = answered.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    println!("{}", json!({"first_answer_ms": took.as_secs_f64() * 1000.0}));
    Ok(())
}

async fn ask(kubeconfig: &std::path::Path) -> Result<()> {
    let kubeconfig = Kubeconfig::read(kubeconfig)?;
    let host = kubeconfig
        .server
        .strip_prefix("https://")
        .context("not an https server")?
        .trim_end_matches('/')
        .to_owned();
    let mut connection = connect(&connector(&kubeconfig)?, &host).await?;
    let request = format!(
        "GET /api/v1/namespaces HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n"
    );
    let status = exchange(&mut connection, request.as_bytes(), &mut Vec::new()).await?;
    ensure!(status == 200, "status {status}");
    Ok(())
}
