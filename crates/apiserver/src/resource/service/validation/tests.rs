//! Good Services pass, bad ones are refused in the words of Kubernetes.

use serde_json::json;

use super::*;

fn service(changes: Value) -> Value {
    let mut service = json!({
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    });
    for (field, value) in changes.as_object().unwrap() {
        if field == "name" {
            service["metadata"]["name"] = value.clone();
        } else {
            service["spec"][field] = value.clone();
        }
    }
    crate::resource::service::apply_defaults(&mut service);
    service
}

fn complaints(changes: Value) -> Vec<String> {
    let mut service = service(changes);
    let address = service["spec"]["clusterIP"].clone();
    if address.is_string() && service["spec"].get("clusterIPs").is_none() {
        service["spec"]["clusterIPs"] = json!([address]);
    }
    create(&service).iter().map(FieldError::message).collect()
}

#[test]
fn good_services_pass() {
    for good in [
        json!({}),
        json!({"clusterIP": "None", "ports": []}),
        json!({"clusterIP": "10.0.0.1"}),
        json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}),
        json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/x", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}),
        json!({"type": "ExternalName", "externalName": "kubernetes.io.", "ports": []}),
        json!({"sessionAffinity": "ClientIP"}),
        json!({"ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}),
        json!({"ports": [{"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]}),
        json!({"externalIPs": ["1.2.3.4", "2001:db8::1"], "trafficDistribution": "PreferClose"}),
    ] {
        assert_eq!(complaints(good.clone()), [""; 0], "{good}");
    }
}

#[test]
fn bad_services_are_refused_in_the_words_of_kubernetes() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let cases = [
        (json!({"name": "1a"}), vec!["metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".to_owned()]),
        (json!({"ports": []}), vec!["spec.ports: Required value".to_owned()]),
        (json!({"ports": [{"port": 0, "targetPort": 1}]}), vec!["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive".to_owned()]),
        (json!({"ports": [{"port": 70000}]}), vec!["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned(), "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned()]),
        (json!({"ports": [{"port": 80, "protocol": "HTTP"}]}), vec!["spec.ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"".to_owned()]),
        (json!({"ports": [{"port": 80}, {"port": 81}]}), vec!["spec.ports[0].name: Required value".to_owned(), "spec.ports[1].name: Required value".to_owned()]),
        (json!({"ports": [{"name": "A", "port": 80}]}), vec![format!("spec.ports[0].name: Invalid value: \"A\": {label}")]),
        (json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}), vec!["spec.ports[1].name: Duplicate value: \"a\"".to_owned()]),
        (json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}), vec!["spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}".to_owned()]),
        (json!({"ports": [{"port": 80, "nodePort": 30000}]}), vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'".to_owned()]),
        (json!({"type": "NodePort", "ports": [{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30000}]}), vec!["spec.ports[1].nodePort: Duplicate value: 30000".to_owned()]),
        (json!({"type": "Magic"}), vec!["spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"".to_owned()]),
        (json!({"type": "NodePort", "clusterIP": "None"}), vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services".to_owned()]),
        (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value".to_owned()]),
        (json!({"type": "ExternalName", "externalName": "a", "clusterIP": "10.0.0.1"}), vec!["spec.clusterIPs: Forbidden: may not be set for ExternalName services".to_owned()]),
        (json!({"clusterIP": "10.0.0"}), vec!["spec.clusterIPs[0]: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]),
        (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}), vec!["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`".to_owned()]),
        (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}), vec!["spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family".to_owned()]),
        (json!({"clusterIP": "fd00::1", "ipFamilies": ["IPv4"]}), vec!["spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[0]`".to_owned()]),
        (json!({"ipFamilies": ["IPv4", "IPv4"]}), vec!["spec.ipFamilies[1]: Duplicate value: \"IPv4\"".to_owned()]),
        (json!({"ipFamilyPolicy": "Both"}), vec!["spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"".to_owned()]),
        (json!({"externalIPs": ["127.0.0.1"]}), vec!["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()]),
        (json!({"externalIPs": ["host"]}), vec!["spec.externalIPs[0]: Invalid value: \"host\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]),
        (json!({"sessionAffinity": "Sticky"}), vec!["spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\"".to_owned()]),
        (json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}), vec!["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400".to_owned()]),
        (json!({"externalTrafficPolicy": "Local"}), vec!["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services".to_owned()]),
        (json!({"internalTrafficPolicy": "None"}), vec!["spec.internalTrafficPolicy: Unsupported value: \"None\": supported values: \"Cluster\", \"Local\"".to_owned()]),
        (json!({"healthCheckNodePort": 30000}), vec!["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'".to_owned()]),
        (json!({"loadBalancerClass": "a/b"}), vec!["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'".to_owned()]),
        (json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}), vec!["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'".to_owned()]),
        (json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/88"]}), vec!["spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/88\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]),
        (json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}), vec!["spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet".to_owned()]),
        (json!({"ports": [{"port": 80, "targetPort": "a_b"}]}), vec!["spec.ports[0].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned()]),
    ];
    for (changes, expected) in cases {
        assert_eq!(complaints(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn addresses_do_not_change() {
    let old = service(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}));
    let texts = |changes: Value| -> Vec<String> {
        update(&service(changes), &old).iter().map(FieldError::message).collect()
    };
    assert_eq!(
        texts(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "NodePort"})),
        [""; 0]
    );
    assert_eq!(
        texts(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]})),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
    assert_eq!(
        texts(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        ["spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"]
    );
    assert_eq!(
        texts(json!({})),
        ["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset"]
    );
    assert_eq!(texts(json!({"type": "ExternalName", "externalName": "x"})), [""; 0]);
}

#[test]
fn statuses_are_checked_too() {
    let old = service(json!({"type": "LoadBalancer"}));
    let mut new = old.clone();
    new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3", "ipMode": "VIP"}, {"hostname": "a.b"}]}});
    let texts: Vec<String> = status_update(&new, &old).iter().map(FieldError::message).collect();
    assert_eq!(
        texts,
        [
            "status.loadBalancer.ingress[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        ]
    );
    let plain = service(json!({}));
    let mut new = plain.clone();
    new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}});
    assert_eq!(status_update(&new, &plain).len(), 1);
}

#[test]
fn useless_fields_are_warned_of() {
    let headless = service(json!({"clusterIP": "None", "externalIPs": ["1.2.3.4"]}));
    assert_eq!(warnings(&headless), ["spec.externalIPs is ignored for headless services"]);
    assert!(warnings(&service(json!({}))).is_empty());
}
