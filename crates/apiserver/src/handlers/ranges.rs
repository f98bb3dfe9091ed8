//! The ranges of all `ServiceCIDR` objects, read again whenever one of them changes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::meta;
use crate::cache::{Object, Query, store_key};
use crate::resource::{SHORTEST_V6, covers};
use crate::server::Server;
use crate::store::{Expect, Operation, Revision};

/// The object that stands for `--service-cluster-ip-range`.
pub(crate) const DEFAULT_RANGE: &str = "kubernetes";

/// One range of one `ServiceCIDR`.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRange {
    pub(crate) net: IpNet,
    /// Whether addresses are given from it.
    pub(crate) ready: bool,
    name: String,
    revision: Revision,
}

/// All of them as of one moment.
#[derive(Debug, Default)]
pub(crate) struct ServiceRanges {
    version: Revision,
    /// The default object's first, then by name.
    pub(crate) all: Vec<ServiceRange>,
}

impl ServiceRanges {
    /// Makes a transaction wait for the object whose range an address comes from: when it was
    /// deleted meanwhile, or is about to be, the address is not given.
    pub(super) fn check(&self, ip: IpAddr) -> Option<Operation> {
        let range = self.all.iter().find(|range| range.ready && covers(&range.net, ip))?;
        let resource = crate::resource::find("networking.k8s.io", "v1", "servicecidrs")?;
        Some(Operation::Check {
            key: store_key(resource, "", &range.name),
            expect: Expect::Revision(range.revision),
        })
    }

    /// Whether any range holds the address, ready or not.
    pub(crate) fn covers(&self, ip: IpAddr) -> bool {
        self.all.iter().any(|range| covers(&range.net, ip))
    }
}

fn ranges_of(object: &Object) -> Vec<ServiceRange> {
    let value = object.value();
    let ready = is_ready(&value) && !meta::is_terminating(&value);
    let texts = value["spec"]["cidrs"].as_array().into_iter().flatten();
    let nets = texts.filter_map(|text| text.as_str()?.parse::<IpNet>().ok());
    let range = |net: IpNet| {
        let usable = net.addr().is_ipv4() || net.prefix_len() >= SHORTEST_V6;
        ServiceRange {
            net,
            ready: ready && usable,
            name: meta::text(&value, "name").to_owned(),
            revision: object.revision,
        }
    };
    nets.map(range).collect()
}

/// An object without the condition is ready: no controller may be there to say so.
fn is_ready(cidr: &Value) -> bool {
    let conditions = cidr["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|condition| condition["type"] == "Ready")
        .all(|condition| condition["status"] == "True")
}

impl Server {
    pub(crate) fn service_ranges(&self) -> Arc<ServiceRanges> {
        let Some((_, table)) = self.cache.find("networking.k8s.io", "servicecidrs") else {
            return Arc::default();
        };
        // Read before the list, which may thus be newer than its number, never older.
        let version = self.cache.changed(table);
        let known = self.ranges.load();
        if known.version == version && version != 0 {
            return known.clone();
        }
        let listed = self.cache.list(table, &Query::default(), &|_| true);
        let objects = listed.map(|(page, _)| page.objects).unwrap_or_default();
        let mut all: Vec<_> = objects.iter().flat_map(|object| ranges_of(object)).collect();
        all.sort_by_key(|range| range.name != DEFAULT_RANGE);
        let ranges = Arc::new(ServiceRanges { version, all });
        self.ranges.store(ranges.clone());
        ranges
    }
}
