//! `file`: zones from zone files (RFC 1035, 5).

mod lookup;
mod zone;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::super::config::{Key, fallthrough, zones_or_block};
use super::super::corefile::{CorefileError, Directive};
use super::super::zone::{Fallthrough, Zone, longest};
pub(crate) use lookup::Found;
pub(crate) use zone::ZoneData;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileConfig {
    file: PathBuf,
    zones: Vec<Zone>,
    /// How often to look for changes that are not heard of; zero means the file is not followed.
    pub(crate) reload: Duration,
    by_mtime: bool,
    fallthrough: Option<Fallthrough>,
    directive: Directive,
}

impl FileConfig {
    /// `file FILE [ZONE…] { reload DURATION; reload_by_mtime; fallthrough [ZONE…] }`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let Some((file, zones)) = directive.args.split_first() else {
            return Err(directive.error("takes a zone file"));
        };
        let mut config = Self {
            file: file.into(),
            zones: zones_or_block(directive, zones, keys)?,
            reload: Duration::from_secs(60),
            by_mtime: false,
            fallthrough: None,
            directive: directive.clone(),
        };
        for option in &directive.options {
            match option.name.as_str() {
                "reload" => config.reload = directive.duration(option)?,
                "reload_by_mtime" => {
                    directive.option_without_args(option)?;
                    config.by_mtime = true;
                }
                "fallthrough" => config.fallthrough = Some(fallthrough(directive, option)?),
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(config)
    }

    /// Whether the file can be used.
    pub(crate) fn check(&self) -> Result<(), CorefileError> {
        for zone in &self.zones {
            self.load(zone).map_err(|problem| self.directive.error(problem))?;
        }
        Ok(())
    }

    /// Whether there is no file yet, and it is waited for: as in CoreDNS, one that is followed may
    /// come later.
    fn is_to_come(&self) -> bool {
        if self.reload.is_zero() {
            return false;
        }
        let Err(error) = std::fs::File::open(&self.file) else { return false };
        tracing::warn!(
            file = %self.file.display(), %error, again = ?self.reload,
            "cannot read a zone file, trying again; until then its zones answer SERVFAIL"
        );
        true
    }

    fn load(&self, zone: &Zone) -> Result<ZoneData, String> {
        let file = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| format!("cannot read {file}: {error}"))?;
        ZoneData::parse(zone, &text).map_err(|why| format!("{file} as zone {zone}: {why}"))
    }
}

/// One zone of a file, as it is now.
#[derive(Debug)]
pub(crate) struct ServedZone {
    pub(crate) zone: Zone,
    data: ArcSwapOption<ZoneData>,
    /// The zone has another serial.
    pub(crate) changed: watch::Sender<()>,
}

impl ServedZone {
    pub(crate) fn data(&self) -> Option<Arc<ZoneData>> {
        self.data.load_full()
    }
}

/// A zone file at work.
#[derive(Debug)]
pub(crate) struct File {
    config: FileConfig,
    pub(crate) zones: Vec<Arc<ServedZone>>,
    modified: parking_lot::Mutex<Option<SystemTime>>,
}

impl File {
    /// Reads the file; one that makes no sense is an error now, and a warning later.
    pub(crate) fn new(config: FileConfig) -> Result<Self, CorefileError> {
        let is_to_come = config.is_to_come();
        if !is_to_come {
            config.check()?;
        }
        let zone = |zone: &Zone| {
            let data = ArcSwapOption::empty();
            Arc::new(ServedZone { zone: zone.clone(), data, changed: watch::Sender::default() })
        };
        let zones = config.zones.iter().map(zone).collect();
        let file = Self { config, zones, modified: parking_lot::Mutex::default() };
        if !is_to_come {
            file.load();
        }
        Ok(file)
    }

    /// The file, if its changes are to be followed.
    pub(crate) fn followed(&self) -> Option<&Path> {
        (!self.config.reload.is_zero()).then_some(self.config.file.as_path())
    }

    pub(crate) fn interval(&self) -> Duration {
        if self.config.reload.is_zero() { Duration::MAX } else { self.config.reload }
    }

    /// Reads the file anew, if it has changed since; zones whose serial has moved are taken over,
    /// as in CoreDNS, or with `reload_by_mtime` all.
    pub(crate) fn load(&self) {
        let file = self.config.file.display();
        let modified = std::fs::metadata(&self.config.file).and_then(|meta| meta.modified()).ok();
        let before = std::mem::replace(&mut *self.modified.lock(), modified);
        if before.is_some() && before == modified {
            return;
        }
        for served in &self.zones {
            let data = match self.config.load(&served.zone) {
                Ok(data) => data,
                Err(problem) => {
                    tracing::warn!("{problem}; going on with what was there");
                    continue;
                }
            };
            let old = served.data();
            let moved = old.as_ref().is_none_or(|old| old.serial() != data.serial());
            if moved || self.config.by_mtime {
                tracing::info!(%file, zone = %served.zone, serial = data.serial(), "zone is loaded");
                served.data.store(Some(Arc::new(data)));
                if moved && old.is_some() {
                    served.changed.send_replace(());
                }
            }
        }
    }

    /// The zone that `name` is in.
    pub(crate) fn zone(&self, name: &[u8]) -> Option<&Arc<ServedZone>> {
        let zone = longest(self.zones.iter().map(|served| &served.zone), name)?;
        self.zones.iter().find(|served| served.zone == *zone)
    }

    /// Whether others may answer for a name that this file does not have.
    pub(crate) fn passes(&self, name: &[u8]) -> bool {
        self.config.fallthrough.as_ref().is_some_and(|fall| fall.passes(name))
    }
}
