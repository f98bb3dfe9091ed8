//! SIGKILL under writes, hundreds of times: nothing acknowledged is lost, no revision is given
//! twice, and the counter never goes back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portolan_apiserver::store::embedded::EmbeddedStore;
use portolan_apiserver::store::{Expect, Store, Transaction};

const DIRECTORY: &str = "PORTOLAN_KILL_TEST_DIRECTORY";
const ROUNDS: u32 = 250;
const LONGEST: Duration = Duration::from_secs(30);
const WRITERS: u64 = 6;
const KEYS: u64 = 40;

/// The process that is killed: writes until then and reports each acknowledgement.
#[test]
#[ignore = "the other half of survives_kill, which starts it"]
fn writer_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(EmbeddedStore::open(Path::new(&directory).join("store")).unwrap());
        let line = format!("\nopen {}\n", store.revision());
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        let writers = (0..WRITERS).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for count in 0.. {
                    let key = format!("/{writer}/{}", count % KEYS);
                    let text = format!("{writer}-{count}-{}", store.revision());
                    let size = 10 + usize::try_from(count * 37 % 2000).unwrap();
                    let value = Bytes::from(format!("{text} {}", "x".repeat(size)));
                    let delete = count % 11 == 10;
                    let transaction = if delete {
                        Transaction::new().delete(&*key, Expect::Any)
                    } else {
                        Transaction::new().put(&*key, value, Expect::Any)
                    };
                    let revision = store.commit(transaction).await.unwrap();
                    let text = if delete { "-" } else { &text };
                    let line = format!("ack {key} {revision} {text}\n");
                    // One write, so that lines of several tasks do not mix.
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// What is known of a key: the revision, and the value's first word, or "-" when deleted.
type Known = BTreeMap<String, (u64, String)>;

/// Runs a writer, kills it `delay` after so many acknowledgements, and adds what it acknowledged.
/// Returns the revision at which it began.
fn one_round(directory: &Path, count: u32, delay: Duration, known: &mut Known) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_process", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let mut opened = None;
    let mut acknowledged = 0;
    let mut child = Some(child);
    let mut killer = None;
    for line in lines.by_ref() {
        let line = String::from_utf8(line.unwrap()).unwrap();
        if let Some(revision) = line.strip_prefix("open ") {
            opened = Some(revision.parse::<u64>().unwrap());
            break;
        }
    }
    let opened = opened.expect("the writer opens the store");
    loop {
        if acknowledged >= count
            && let Some(mut child) = child.take()
        {
            // On a thread, so that acknowledgements are read on meanwhile.
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(delay);
                // SIGKILL.
                child.kill().unwrap();
                child.wait().unwrap();
            }));
        }
        let Some(line) = lines.next() else { break };
        acknowledged += 1;
        let line = String::from_utf8(line.unwrap()).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may be cut: it was on its way, so nobody has it.
        if let ["ack", key, revision, text] = words[..] {
            let Ok(revision) = revision.parse::<u64>() else { continue };
            let newer = known.get(key).is_none_or(|(last, _)| *last < revision);
            if newer {
                known.insert(key.to_owned(), (revision, text.to_owned()));
            }
        }
    }
    killer.expect("the writer lives until it is killed").join().unwrap();
    opened
}

#[test]
fn survives_kill() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    let mut known = Known::new();
    let (mut last, mut rounds) = (0, 0);
    while rounds < ROUNDS && (began.elapsed() < LONGEST || rounds < 20) {
        let delay = Duration::from_micros(u64::from(rounds * 7919 % 5_000));
        let opened = one_round(directory.path(), rounds * 31 % 60, delay, &mut known);
        assert!(opened >= last, "the revision went back from {last} to {opened}");
        let store = EmbeddedStore::open(directory.path().join("store")).unwrap();
        runtime.block_on(async {
            let mut highest = 0;
            for (key, (revision, text)) in &known {
                highest = highest.max(*revision);
                let found = store.get(key).await.unwrap();
                // Written again after the acknowledgement, but the news did not get out.
                if found.as_ref().is_some_and(|found| found.revision > *revision) {
                    continue;
                }
                match found {
                    Some(found) => {
                        assert_eq!(found.revision, *revision, "round {rounds}, {key}");
                        assert!(found.value.starts_with(format!("{text} ").as_bytes()));
                    }
                    // A later delete may have been durable, but not acknowledged.
                    None => assert!(text == "-" || store.revision() > *revision),
                }
            }
            assert!(store.revision() >= highest);
            last = store.revision();
        });
        rounds += 1;
    }
    assert!(rounds >= 20, "only {rounds} rounds");
    assert!(last > u64::from(rounds), "hardly anything was written");
    eprintln!("{rounds} kills in {:?}, {last} revisions, nothing lost", began.elapsed());
}
