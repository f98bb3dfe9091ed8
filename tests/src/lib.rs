//! The harness of the end-to-end tests: labs that end with the test, the real `kubectl`,
//! programs in the lab's network namespaces, and clients for HTTP, TCP, UDP and DNS.
//!
//! A test that cannot run here says so on standard error, whatever libtest captures, and
//! passes; with `PORTOLAN_TESTS_REQUIRED=1` (what `./x test` sets) it fails instead.

pub mod alone;
pub mod environment;
pub mod kubeconfig;
pub mod lab;
pub mod machine;
pub mod manifest;
pub mod namespace;
pub mod outcome;
pub mod probe;
pub mod wait;

pub use environment::Environment;
pub use lab::{Lab, Options};
pub use namespace::Namespace;
pub use outcome::Outcome;
pub use wait::eventually;
