//! What `log` writes, by way of the program's own log.

use std::sync::{Mutex, Once};

use domain::base::iana::Rtype;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::harness::*;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the lines about queries.
struct Keeper;

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "portolan_node::dns::query"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        LINES.lock().expect("no panic").push(message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The lines that are about `name`, without the client's port and the time that it took.
fn lines(name: &str) -> Vec<String> {
    let lines = LINES.lock().expect("no panic");
    let about = lines.iter().filter(|line| line.contains(name));
    let shown = about.map(|line| {
        let (before, rest) = line.split_once(':').expect("a port");
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let line = format!("{before}{rest}");
        match line.rsplit_once(' ') {
            Some((line, took)) if took.ends_with('s') && took.starts_with("0.") => line.to_owned(),
            _ => line,
        }
    });
    shown.collect()
}

/// Beside what the real one wrote for the same questions: `127.0.0.1:34567 - 258 "A IN
/// www.example.org. udp 56 false 1232" NOERROR qr,aa,rd,ra 64 0.000606877s`.
#[test]
fn each_query_has_its_line() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Keeper).expect("no other");
    });
    let to =
        scripted(|question, _| Some(reply(question, domain::base::iana::Rcode::NOERROR, Some(1))));
    let server = start(&format!(
        ". {{\n log denied.logged {{\n class denial\n }}\n log short.logged \"{{remote}}:{{port}} \
         {{proto}} {{name}} {{>do}} {{rcode}}\"\n log\n hosts {{\n 192.0.2.1 a.logged \
         a.denied.logged a.short.logged\n fallthrough\n }}\n forward . {to}\n}}"
    ));
    let ask = |name: &str, kind| {
        let mut message = query(name, kind, 1232);
        message[..2].copy_from_slice(&258_u16.to_be_bytes());
        send(server.address, &message, std::time::Duration::from_secs(8)).expect("an answer");
    };
    ask("A.logged", Rtype::A);
    ask("far.logged", Rtype::AAAA);
    ask("a.denied.logged", Rtype::A);
    ask("a.short.logged", Rtype::A);
    ask_tcp(server.address, "a.logged", Rtype::MX);
    let begun = std::time::Instant::now();
    while lines("logged").len() < 4 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", lines("logged"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let of_a = lines(" a.logged.");
    assert_eq!(
        of_a[0],
        "127.0.0.1 - 258 \"A IN a.logged. udp 37 false 1232\" NOERROR qr,aa,rd,ra 53"
    );
    assert!(of_a[1].contains("\"MX IN a.logged. tcp 37 false 1232\" NOERROR"), "{}", of_a[1]);
    let far = &lines("far.logged.")[0];
    let expected = "127.0.0.1 - 258 \"AAAA IN far.logged. udp 39 false 1232\" NOERROR qr,rd,ra ";
    assert!(far.starts_with(expected), "{far}");
    assert_eq!(lines("a.denied.logged"), Vec::<String>::new(), "no denial");
    assert_eq!(lines("a.short.logged"), ["127.0.0.1 udp a.short.logged. false NOERROR"]);
}
