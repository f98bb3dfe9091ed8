//! What the flags and configuration files say, as checked values.

pub mod kube_proxy;
pub mod kubeconfig;
pub mod proxy_mode;
pub mod range;
