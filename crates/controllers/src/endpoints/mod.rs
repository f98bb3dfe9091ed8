//! From Services and pods to Endpoints and EndpointSlices.

mod object;
mod ports;
mod slice;
mod slices;
mod subsets;

pub mod mirroring;
pub mod publish;
