//! DNS questions by the crate `domain`, over UDP or TCP (RFC 1035, section 4.2).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedRecord};
use domain::rdata::AllRecordData;
use serde_json::json;

use crate::tally::Tally;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server's address and port
    server: SocketAddr,
    /// The name to ask for; taken as it is, no search list
    name: String,
    /// A, AAAA, SRV, PTR, CNAME, …
    #[arg(default_value = "A")]
    record: String,
    #[arg(long, default_value = "udp", value_parser = ["udp", "tcp"])]
    transport: String,
    /// Ask again and again until standard input closes; bodies are the answers' data
    #[arg(long)]
    repeat: bool,
    /// How often one question is asked before it counts as lost
    #[arg(long, default_value_t = 1)]
    attempts: u32,
    #[arg(long, default_value_t = 10)]
    interval_ms: u64,
    /// Milliseconds after which a question counts as lost
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let name = Name::<Vec<u8>>::from_str(&arguments.name).context("not a name")?;
    let record = Rtype::from_str(&arguments.record)
        .map_err(|_| anyhow!("not a record type: {}", arguments.record))?;
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let once = |id: u16| match arguments.transport.as_str() {
        "tcp" => over_tcp(arguments.server, &question(&name, record, id)?, timeout),
        _ => over_udp(arguments.server, &question(&name, record, id)?, timeout),
    };
    let ask = |id: u16| {
        let mut answer = once(id);
        for _ in 1..arguments.attempts {
            // Resolvers ask again after SERVFAIL as after silence.
            if answer.as_ref().is_ok_and(|answer| answer.header().rcode() != Rcode::SERVFAIL) {
                break;
            }
            // Refused (the pod is just gone) comes at once, so that asking again must not.
            std::thread::sleep(Duration::from_millis(200));
            answer = once(id);
        }
        answer
    };
    if !arguments.repeat {
        let message = ask(0x5054)?;
        println!("{}", describe(&message)?);
        return Ok(());
    }
    let mut id = 0_u16;
    Tally::new().until_input_closes(Duration::from_millis(arguments.interval_ms), || {
        id = id.wrapping_add(1);
        let message = ask(id)?;
        ensure!(message.header().id() == id, "another question's answer");
        let rcode = message.header().rcode();
        ensure!(rcode == Rcode::NOERROR, "{rcode}");
        let mut data = records(message.answer()?)?;
        data.sort();
        Ok(data.join(" "))
    })
}

fn question(name: &Name<Vec<u8>>, record: Rtype, id: u16) -> Result<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, record))?;
    Ok(builder.finish())
}

fn over_udp(server: SocketAddr, question: &[u8], timeout: Duration) -> Result<Message<Vec<u8>>> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(server)?;
    socket.send(question).context("sending")?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).context("receiving")?;
    buffer.truncate(length);
    Message::from_octets(buffer).map_err(|_| anyhow!("a short message"))
}

fn over_tcp(server: SocketAddr, question: &[u8], timeout: Duration) -> Result<Message<Vec<u8>>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout).context("connecting")?;
    stream.set_read_timeout(Some(timeout))?;
    let mut framed = u16::try_from(question.len())?.to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).context("sending")?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).context("receiving the length")?;
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut buffer).context("receiving")?;
    Message::from_octets(buffer).map_err(|_| anyhow!("a short message"))
}

fn describe(message: &Message<Vec<u8>>) -> Result<serde_json::Value> {
    let (_, answer, authority, additional) = message.sections()?;
    let header = message.header();
    let sorted = |section| -> Result<Vec<String>> {
        let mut lines = records(section)?;
        lines.sort();
        Ok(lines)
    };
    Ok(json!({
        "rcode": header.rcode().to_string(),
        "authoritative": header.aa(),
        "truncated": header.tc(),
        "answer": sorted(answer)?,
        "authority": sorted(authority)?,
        "additional": sorted(additional)?,
    }))
}

fn records(section: domain::base::message::RecordSection<'_, Vec<u8>>) -> Result<Vec<String>> {
    section
        .filter(|record| !record.as_ref().is_ok_and(|record| record.rtype() == Rtype::OPT))
        .map(|record| line(&record?))
        .collect()
}

fn line(record: &ParsedRecord<'_, Vec<u8>>) -> Result<String> {
    let typed = record.to_record::<AllRecordData<_, _>>()?.context("not understood")?;
    Ok(format!(
        "{} {} {} {} {}",
        typed.owner(),
        typed.ttl().as_secs(),
        typed.class(),
        typed.rtype(),
        typed.data()
    ))
}
