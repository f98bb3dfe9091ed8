//! What the demo shows while nothing changes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::show;

const DNS: &str = "@10.96.0.10";
const NODES: [&str; 3] = ["control-plane", "worker-1", "worker-2"];

/// Returns once `blue` answers by its virtual address and by its name.
pub(crate) fn first_answer(lab: &Lab) -> Result<()> {
    let address = cluster_ip(lab, "blue")?;
    let url = format!("http://{address}/hostname");
    let retry =
        ["--retry", "20", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "20"];
    let mut words = vec!["curl", "-s", "--fail", "--max-time", "2"];
    words.extend(retry);
    lab.exec("worker-1", &[&words[..], &[&url]].concat())
        .context("the virtual address does not answer")?;
    lab.exec("pod/default/blue-0", &[&words[..], &["http://blue/hostname"]].concat())
        .context("the name does not answer in a pod")?;
    Ok(())
}

pub(crate) fn objects(lab: &Lab) -> Result<()> {
    show::heading("The objects, as kubectl prints them");
    for words in ["get nodes", "get pods -o wide", "get services", "get endpoints"] {
        let arguments: Vec<&str> = words.split(' ').collect();
        show::command(&format!("kubectl {words}"), &without_wide_noise(&lab.kubectl(&arguments)?));
    }
    Ok(())
}

/// `-o wide` has two columns of schedulers' notes that say `<none>` in every row.
fn without_wide_noise(table: &str) -> String {
    let Some(end) = table.lines().next().and_then(|header| header.find("NOMINATED NODE")) else {
        return table.to_owned();
    };
    table
        .lines()
        .map(|line| line.get(..end).unwrap_or(line).trim_end())
        .collect::<Vec<_>>()
        .join("\n")
}

pub(crate) fn virtual_address(lab: &Lab) -> Result<()> {
    let address = cluster_ip(lab, "blue")?;
    show::heading("One virtual address, three pods");
    show::prose(&format!(
        "No machine has the address {address}; the node's kernel sends each connection to one of the pods."
    ));
    for place in ["worker-1", "pod/default/blue-0"] {
        let counts = count_answers(lab, place, &format!("http://{address}/hostname"), 120)?;
        show::command(&format!("curl http://{address}/hostname    # 120 times, on {place}"), "");
        show::bars(&counts);
    }
    let outside = lab
        .exec_command("outside", &["curl", "-sS", "--max-time", "2", &format!("http://{address}/")])
        .output()?;
    ensure!(!outside.status.success(), "{address} answers outside the cluster, where it must not");
    show::command(
        &format!("curl http://{address}/hostname    # outside the cluster"),
        &String::from_utf8_lossy(&outside.stderr),
    );
    Ok(())
}

pub(crate) fn node_port(lab: &Lab) -> Result<()> {
    show::heading("A port on every node");
    show::prose("From outside, each node's port 30002 leads to the same pods, wherever they run.");
    let mut rows = Vec::new();
    for node in NODES {
        let address = node_address(lab, node)?;
        let url = format!("http://{address}:30002/hostname");
        let counts = count_answers(lab, "outside", &url, 30)?;
        rows.push(vec![node.to_owned(), format!("curl {url}"), counted(&counts)]);
    }
    let local = count_answers(lab, "worker-1", "http://127.0.0.1:30002/hostname", 30)?;
    rows.push(vec![
        "worker-1, on itself".to_owned(),
        "curl http://127.0.0.1:30002/hostname".to_owned(),
        counted(&local),
    ]);
    show::table(&["NODE", "30 TIMES", "ANSWERED BY"], &rows);
    Ok(())
}

pub(crate) fn external_ip(lab: &Lab) -> Result<()> {
    show::heading("An address of nobody's");
    show::prose(
        "green has externalIPs: [203.0.113.7]. What reaches a node for that address goes to its pods.",
    );
    let node = node_address(lab, "worker-2")?;
    lab.exec("outside", &["ip", "route", "replace", "203.0.113.7/32", "via", &node])?;
    let counts = count_answers(lab, "outside", "http://203.0.113.7/hostname", 30)?;
    show::command(
        &format!(
            "curl http://203.0.113.7/hostname    # 30 times, outside, routed to worker-2 ({node})"
        ),
        "",
    );
    show::bars(&counts);
    Ok(())
}

pub(crate) fn names(lab: &Lab) -> Result<()> {
    show::heading("The names");
    let questions = [
        ("blue", "the Service's one address"),
        ("blue-peers", "headless: its pods' addresses"),
        ("blue-0.blue-peers", "one pod of the StatefulSet"),
        ("k8s", "ExternalName: an alias"),
        ("grey", "no such Service"),
    ];
    let mut rows = Vec::new();
    for (short, why) in questions {
        let name = format!("{short}.default.svc.cluster.local");
        // +norecurse: the alias itself, not what the world says about its target.
        let said = lab.exec(
            "worker-1",
            &["dig", DNS, "+norecurse", "+noall", "+answer", "+comments", &name],
        )?;
        rows.push(vec![name, dig_answer(&said), why.to_owned()]);
    }
    show::table(&["dig @10.96.0.10", "ANSWER", ""], &rows);
    let inside = lab.exec("pod/default/blue-0", &["cat", "/etc/resolv.conf"])?;
    show::prose("In a pod, resolv.conf makes the short names work:");
    show::command("cat /etc/resolv.conf    # in blue-0", &inside);
    for url in ["http://blue/hostname", "http://blue-1.blue-peers:8080/hostname"] {
        let said =
            lab.exec("pod/default/blue-0", &["curl", "-sS", "--fail", "--max-time", "5", url])?;
        show::command(&format!("curl {url}    # in blue-0"), &said);
    }
    Ok(())
}

/// The data of the answer section, or the status where it is empty.
fn dig_answer(said: &str) -> String {
    let status = said
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("no answer");
    let mut data = Vec::new();
    for line in said.lines().filter(|line| !line.starts_with(';')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, kind, value, ..] = fields[..] {
            data.push(if kind == "CNAME" { format!("CNAME {value}") } else { value.to_owned() });
        }
    }
    data.sort();
    if data.is_empty() { status.to_owned() } else { data.join(", ") }
}

/// How often each pod answered `count` requests, each on a connection of its own.
fn count_answers(lab: &Lab, place: &str, url: &str, count: usize) -> Result<Vec<(String, usize)>> {
    let urls = format!("{url}?[1-{count}]");
    let words =
        ["curl", "-sS", "--fail", "--max-time", "5", "-H", "Connection: close", "-w", "\n", &urls];
    let said = lab.exec(place, &words)?;
    let mut counts = BTreeMap::new();
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        *counts.entry(line.to_owned()).or_insert(0) += 1;
    }
    ensure!(counts.values().sum::<usize>() == count, "{url} answered less often than it was asked");
    Ok(counts.into_iter().collect())
}

fn counted(counts: &[(String, usize)]) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn cluster_ip(lab: &Lab, service: &str) -> Result<String> {
    lab.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"])
}

fn node_address(lab: &Lab, node: &str) -> Result<String> {
    let path = r#"jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
    let addresses = lab.kubectl(&["get", "node", node, "-o", path])?;
    addresses
        .split_whitespace()
        .next()
        .map(str::to_owned)
        .with_context(|| format!("{node} has no address"))
}
