//! Manifests that many tests need, as YAML.

/// Further lines of a container, in flow style: `args: [...]`, a probe, `lifecycle: {...}`.
pub type Extra<'a> = &'a str;

const PROBE: &str = "readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}";

/// The template of a pod of `portolan/echo` with the label `app: APP` and a readiness probe.
fn template(app: &str, extra: Extra<'_>) -> String {
    let extra: String = extra.lines().map(|line| format!("          {line}\n")).collect();
    format!(
        "    metadata:
      labels: {{app: {app}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: echo
          image: portolan/echo
          args: [--http=8080, --udp=8081, --tcp=8082]
          ports:
            - {{name: http, containerPort: 8080}}
            - {{name: lines, containerPort: 8081, protocol: UDP}}
            - {{name: tcp, containerPort: 8082}}
          {PROBE}
{extra}"
    )
}

/// A Deployment of `portolan/echo`: HTTP on 8080 (`http`), UDP lines on 8081 (`lines`), TCP lines on 8082 (`tcp`).
pub fn deployment(name: &str, replicas: u32, extra: Extra<'_>) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
{}",
        template(name, extra)
    )
}

/// As [`deployment`], a StatefulSet whose pods' names are in the headless Service `service`.
pub fn stateful_set(name: &str, service: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  serviceName: {service}
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
{}",
        template(name, "")
    )
}

/// A single pod of `portolan/echo`, on `node` if one is given.
pub fn pod(name: &str, app: &str, node: Option<&str>, extra: Extra<'_>) -> String {
    let node = node.map_or_else(String::new, |node| format!("  nodeName: {node}\n"));
    let extra: String = extra.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec:
{node}  terminationGracePeriodSeconds: 1
  containers:
    - name: echo
      image: portolan/echo
      args: [--http=8080, --udp=8081, --tcp=8082]
      ports:
        - {{name: http, containerPort: 8080}}
        - {{name: lines, containerPort: 8081, protocol: UDP}}
        - {{name: tcp, containerPort: 8082}}
      {PROBE}
{extra}---
"
    )
}

/// A Service of `spec` (YAML in flow style without the braces: `selector: {app: x}, ports: [{port: 80}]`).
pub fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n")
}
