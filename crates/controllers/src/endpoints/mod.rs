//! From Services and pods to Endpoints and EndpointSlices.

mod hints;
mod object;
mod packing;
mod ports;
mod repack;
mod slice;
mod slices;
mod subsets;
mod topology;

pub mod mirroring;
pub mod publish;

pub(crate) use publish::{selected, selector_of};
