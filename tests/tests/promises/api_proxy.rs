//! Promise 14: Services through the API server, by `kubectl proxy`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portolan_tests::manifest::{pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Outcome, eventually};

/// `kubectl proxy`, ended with the test.
struct KubectlProxy {
    child: Child,
    address: String,
}

impl KubectlProxy {
    fn start(lab: &Lab) -> Self {
        let mut child = lab
            .kubectl_command()
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("Starting to serve on ").expect(&line).to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> Outcome {
        let url = format!("http://{}{path}", self.address);
        let words = ["-sS", "--max-time", "10", "-w", " %{http_code}", &url];
        Outcome::of(Command::new("curl").args(words), None, Duration::from_secs(20))
    }
}

impl Drop for KubectlProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn promise_14_kubectl_proxy_reaches_services() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p14");
    let ports =
        "[{name: http, port: 80, targetPort: http}, {name: spare, port: 8081, targetPort: 9}]";
    let web = service("web", &format!("selector: {{app: web}}, ports: {ports}"));
    let one = service("one", "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]");
    let none = service("none", "selector: {app: nobody}, ports: [{port: 80}]");
    let manifest = [pod("web", "web", None, ""), web, one, none].join("\n---\n");
    namespace.apply(&manifest).ok();
    namespace.wait_ready(&["web"]);
    namespace.wait_endpoints("one", 1);
    let proxy = KubectlProxy::start(lab);
    let base = "/api/v1/namespaces/p14/services";
    // Without a port's name the only port, else by name or number.
    for service in ["one", "one:80", "web:http", "web:80", "http:web:http"] {
        eventually(&format!("{service} answers"), || {
            let answer = proxy.get(&format!("{base}/{service}/proxy/hostname"));
            check(answer.text() == "web 200", &answer.to_string())
        });
    }
    // The query goes along.
    let answer = proxy.get(&format!("{base}/one/proxy/echo?msg=hello")).ok();
    assert_eq!(answer.text(), "hello 200");
    // What cannot be reached says why, in the API's own form.
    let answer = proxy.get(&format!("{base}/none/proxy/")).ok();
    assert!(answer.text().ends_with(" 503"), "{answer}");
    assert!(answer.stdout.contains("no endpoints available for service"), "{answer}");
    let answer = proxy.get(&format!("{base}/missing/proxy/")).ok();
    assert!(answer.text().ends_with(" 404"), "{answer}");
}
