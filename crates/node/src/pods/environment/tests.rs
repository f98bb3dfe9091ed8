use proptest::prelude::*;
use serde_json::json;

use super::*;

fn from_json<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod() -> Pod {
    from_json(
        json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": "u", "labels": {"a": "x", "b": "q\"q"}},
                     "spec": {"containers": [], "serviceAccountName": "sa"}}),
    )
}

fn facts() -> Facts {
    Facts {
        node_name: "n1".into(),
        host_ips: vec!["192.0.2.1".parse().unwrap()],
        pod_ips: vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
    }
}

fn services() -> Vec<Service> {
    let service = |ns: &str, name: &str, ip: &str| {
        from_json(
            json!({"metadata": {"namespace": ns, "name": name}, "spec": {"clusterIP": ip, "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}),
        )
    };
    vec![
        service("default", "kubernetes", "10.96.0.1"),
        service("shop", "my-db", "10.96.0.7"),
        service("shop", "headless", "None"),
        service("other", "x", "10.96.0.9"),
    ]
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().find(|v| v.0 == name).map(|v| v.1.as_str())
}

#[test]
fn variables_come_from_everywhere_and_later_ones_win() {
    let container: Container = from_json(
        json!({"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
        "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "P_"}, {"secretRef": {"name": "no", "optional": true}}],
        "env": [
            {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(P_k)-$(MY_DB_SERVICE_HOST)-$(NO)-$$(A)"},
            {"name": "IMG", "value": "mine"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "SEC", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
            {"name": "OPT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "none", "optional": true}}}
        ]}),
    );
    let data = Data::from([
        (
            (Kind::ConfigMap, "cm".to_owned()),
            Some(Arc::new(BTreeMap::from([("k".to_owned(), b"v".to_vec())]))),
        ),
        (
            (Kind::Secret, "s".to_owned()),
            Some(Arc::new(BTreeMap::from([("p".to_owned(), b"hush".to_vec())]))),
        ),
    ]);
    assert_eq!(references(&container).len(), 3);
    let image = Image {
        env: vec![("IMG".into(), "its".into()), ("PATH".into(), "/bin".into())],
        ..Image::default()
    };
    let found = variables(&pod(), &container, &image, &facts(), &services(), &data).unwrap();
    for (name, expected) in [
        ("A", "1"),
        ("B", "1-v-10.96.0.7-$(NO)-$(A)"),
        ("IMG", "mine"),
        ("PATH", "/bin"),
        ("POD", "web-0"),
        ("IPS", "10.1.0.1,fd00::1"),
        ("LABEL", "x"),
        ("CPU", "2"),
        ("MEM", "64"),
        ("SEC", "hush"),
        ("P_k", "v"),
        ("HOSTNAME", "web-0"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("KUBERNETES_SERVICE_PORT_HTTP", "80"),
        ("MY_DB_PORT_53_UDP", "udp://10.96.0.7:53"),
        ("MY_DB_PORT", "tcp://10.96.0.7:80"),
        ("MY_DB_SERVICE_PORT", "80"),
    ] {
        assert_eq!(value(&found, name), Some(expected), "{name}");
    }
    for name in ["OPT", "HEADLESS_SERVICE_HOST", "X_SERVICE_HOST"] {
        assert_eq!(value(&found, name), None, "{name}");
    }
}

#[test]
fn what_is_missing_is_named_in_the_kubelets_words() {
    let ask = |env: serde_json::Value, data: &Data| {
        let container: Container = from_json(json!({"name": "c", "env": [env]}));
        variables(&pod(), &container, &Image::default(), &facts(), &[], data).unwrap_err()
    };
    let reference =
        json!({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}});
    assert_eq!(ask(reference.clone(), &Data::new()), "configmap \"cm\" not found");
    let data = Data::from([((Kind::ConfigMap, "cm".to_owned()), Some(Arc::default()))]);
    assert_eq!(ask(reference, &data), "couldn't find key k in ConfigMap shop/cm");
}

#[test]
fn service_links_can_be_turned_off_but_for_the_api_server() {
    let names: Vec<_> =
        services::variables(&services(), "shop", false).into_iter().map(|v| v.0).collect();
    assert!(names.iter().all(|n| n.starts_with("KUBERNETES_")) && !names.is_empty());
}

#[test]
fn commands_replace_the_images_as_kubernetes_says() {
    let image =
        Image { entrypoint: vec!["e".into()], command: vec!["c".into()], ..Image::default() };
    let line = |value: serde_json::Value| {
        let container: Container = from_json(value);
        command_line(&container, &image, &[("A".into(), "1".into())])
    };
    assert_eq!(line(json!({"name": "c"})), ["e", "c"]);
    assert_eq!(line(json!({"name": "c", "args": ["$(A)", "$(B)"]})), ["e", "1", "$(B)"]);
    assert_eq!(line(json!({"name": "c", "command": ["x"]})), ["x"]);
    assert_eq!(line(json!({"name": "c", "command": ["x"], "args": ["$$(A)"]})), ["x", "$(A)"]);
}

#[test]
fn labels_are_listed_quoted() {
    assert_eq!(field(&pod(), &facts(), "metadata.labels").unwrap(), "a=\"x\"\nb=\"q\\\"q\"");
    assert_eq!(field(&pod(), &facts(), "metadata.labels['none']").unwrap(), "");
    assert_eq!(field(&pod(), &facts(), "spec.whatever"), None);
}

proptest! {
    #[test]
    fn text_without_dollars_is_never_changed(text in "[^$]*") {
        prop_assert_eq!(expand(&text, |_| Some("x".into())), text);
    }

    #[test]
    fn any_text_is_expanded_without_panic(text in "[$()a-z]*") {
        let _ = expand(&text, |_| None);
    }
}
