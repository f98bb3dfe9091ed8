use super::*;
use proptest::prelude::*;
use serde_json::json;

fn node(name: &str, ready: bool) -> Arc<Node> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap(),
    )
}

fn revisions(services: u64, slices: u64) -> Option<Revisions> {
    Some(Revisions { services, slices })
}

/// A change of a Service itself.
fn only(services: u64) -> Revisions {
    Revisions { services, slices: 0 }
}

/// The status, the reason and the message.
fn said(say: Say) -> Option<(&'static str, &'static str, String)> {
    match say {
        Say::This(v) => Some((v.status, v.reason, v.message)),
        Say::Same => None,
        Say::Nothing => panic!("nothing"),
    }
}

#[test]
fn a_change_is_programmed_when_every_ready_node_says_so() {
    let start = Instant::now();
    let later = start + grace(3);
    let key = Key::new("ns", "blue");
    let nodes = [node("a", true), node("b", true), node("c", false)];
    let mut programming = Programming::default();
    let reason = |p: &mut Programming, said_before, now| {
        said(p.decide(&Key::new("ns", "blue"), &nodes, said_before, now).0).map(|s| s.1)
    };
    programming.service_changed(key.clone(), only(10), start, false);
    assert_eq!(reason(&mut programming, false, start), Some("NotReported"));
    programming.report("a", revisions(10, 0));
    assert_eq!(reason(&mut programming, false, start), Some("Applying"));
    let (say, _) = programming.decide(&key, &nodes, true, later);
    let (status, reason_, message) = said(say).unwrap();
    assert_eq!((status, reason_), ("False", "NodesLagging"));
    assert!(message.starts_with("1 of 2") && message.contains("b (its proxy does not report)"));
    programming.report("b", revisions(9, 50));
    assert!(programming.satisfied(&nodes).is_empty());
    programming.report("b", revisions(11, 50));
    assert_eq!(programming.satisfied(&nodes), [key.clone()]);
    assert_eq!(reason(&mut programming, true, later), Some("Programmed"));
    assert!(programming.satisfied(&nodes).is_empty(), "it waits no longer");

    // Endpoints: what was said holds until a node is late.
    programming.slice_changed(key.clone(), 60, later);
    assert_eq!(reason(&mut programming, true, later), None);
    programming.report("a", revisions(11, 60));
    // More changes do not give the late node more time, and do not make those late that keep up.
    let again = later + grace(3) / 2;
    programming.slice_changed(key.clone(), 61, again);
    let (say, _) = programming.decide(&key, &nodes, true, later + grace(3));
    let message = said(say).unwrap().2;
    assert!(message.starts_with("1 of 2") && message.ends_with(": b"), "{message}");
    programming.report("a", revisions(11, 61));
    // The dead node is found out, and no longer waited for.
    let nodes = [node("a", true), node("b", false)];
    assert_eq!(programming.satisfied(&nodes), [key.clone()]);
    let (say, _) = programming.decide(&key, &nodes, true, again);
    assert_eq!(said(say).unwrap().1, "Programmed");
}

#[test]
fn who_is_always_a_moment_behind_is_not_late() {
    let start = Instant::now();
    let key = Key::new("ns", "blue");
    let nodes = [node("a", true)];
    let mut programming = Programming::default();
    for second in 0..60 {
        let now = start + Duration::from_secs(second);
        programming.slice_changed(key.clone(), second + 2, now);
        programming.report("a", revisions(0, second + 1));
        let (say, _) = programming.decide(&key, &nodes, true, now);
        assert_eq!(said(say), None, "after {second} seconds");
    }
}

#[test]
fn a_new_node_is_not_written_into_every_service() {
    let start = Instant::now();
    let key = Key::new("ns", "blue");
    let mut programming = Programming::default();
    programming.service_changed(key.clone(), only(10), start, false);
    programming.report("a", revisions(10, 0));
    let one = [node("a", true)];
    assert_eq!(said(programming.decide(&key, &one, true, start).0).unwrap().0, "True");
    let two = [node("a", true), node("new", true)];
    assert_eq!(programming.decide(&key, &two, true, start + grace(2)), (Say::Same, None));
}

#[test]
fn after_a_start_what_was_said_holds() {
    let start = Instant::now();
    let key = Key::new("ns", "blue");
    let nodes = [node("a", true)];
    let mut programming = Programming::default();
    programming.service_changed(key.clone(), only(10), start, true);
    programming.report("a", revisions(9, 0));
    let (say, again) = programming.decide(&key, &nodes, true, start);
    assert_eq!((said(say), again), (None, Some(grace(1))));
}

#[test]
fn large_clusters_have_more_time_and_name_few() {
    assert_eq!((grace(3), grace(50), grace(1000)), (grace(1), grace(1), grace(1) * 20));
    let start = Instant::now();
    let key = Key::new("ns", "blue");
    let nodes: Vec<_> = (0..20).map(|n| node(&format!("n{n:02}"), true)).collect();
    let mut programming = Programming::default();
    programming.service_changed(key.clone(), only(10), start, false);
    programming.report("n00", revisions(10, 0));
    let (say, _) = programming.decide(&key, &nodes, true, start + grace(20));
    let message = said(say).unwrap().2;
    assert!(message.starts_with("19 of 20") && message.ends_with("and 14 more"), "{message}");
}

#[derive(Clone, Debug)]
enum Step {
    Service(u8),
    Slice(u8),
    Report(u8, u8),
}

proptest! {
    /// In any history, a Service is called programmed only if every node has what it needs; and
    /// once all nodes have everything, every Service is.
    #[test]
    fn programmed_is_never_said_too_early(
        steps in prop::collection::vec(prop_oneof![
            (0..3u8).prop_map(Step::Service),
            (0..3u8).prop_map(Step::Slice),
            (0..3u8, 0..6u8).prop_map(|(node, behind)| Step::Report(node, behind)),
        ], 1..40),
    ) {
        let now = Instant::now();
        let nodes: Vec<_> = (0..3).map(|n| node(&format!("n{n}"), true)).collect();
        let key = |s: u8| Key::new("ns", format!("s{s}"));
        let mut programming = Programming::default();
        let (mut revision, mut needs, mut has) = (0u64, BTreeMap::new(), BTreeMap::new());
        for step in steps {
            revision += 1;
            match step {
                Step::Service(s) => {
                    programming.service_changed(key(s), only(revision), now, false);
                    needs.entry(s).or_insert((0, 0)).0 = revision;
                }
                Step::Slice(s) => {
                    programming.slice_changed(key(s), revision, now);
                    needs.entry(s).or_insert((0, 0)).1 = revision;
                }
                Step::Report(n, behind) => {
                    let at = revision.saturating_sub(u64::from(behind));
                    let at = at.max(has.get(&n).copied().unwrap_or(0));
                    programming.report(&format!("n{n}"), revisions(at, at));
                    has.insert(n, at);
                }
            }
            for (s, (service, slice)) in &needs {
                let truth = (0..3).all(|n| has.get(&n).is_some_and(|h| h >= service && h >= slice));
                let (say, _) = programming.decide(&key(*s), &nodes, false, now);
                prop_assert_eq!(said(say).is_some_and(|s| s.0 == "True"), truth);
            }
        }
        for n in 0..3 {
            programming.report(&format!("n{n}"), revisions(revision, revision));
        }
        for s in needs.keys() {
            let (say, _) = programming.decide(&key(*s), &nodes, false, now);
            prop_assert_eq!(said(say).unwrap().0, "True");
        }
        prop_assert_eq!(programming.waiting().count(), 0);
    }
}
