//! Every promise of Portolan, tested in a lab with the real kubectl, real packets and real DNS
//! questions. The test of promise 21 is named `promise_21_…`.

mod api_proxy;
mod endpoints;
mod modes;
mod names;
mod objects;
mod packets;
mod services;
mod status;
mod traffic;
