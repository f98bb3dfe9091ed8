//! What Kubernetes Services mean: pure values and functions.
//!
//! Nothing in this crate does I/O, reads a clock or draws a random number; whatever such a value
//! is needed comes in as an argument, and equal input gives equal output, byte for byte.

pub mod backend;
pub mod desired;
pub mod frontend;
pub mod intern;
pub mod names;
pub mod node_view;
pub mod object;
pub mod oracle;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topology;
pub mod traffic_policy;

pub use desired::{Changes, Desired, desired};
pub use node_view::NodeView;
pub use oracle::{Packet, Verdict, route};
pub use snapshot::{Dirty, Event, Snapshot};
