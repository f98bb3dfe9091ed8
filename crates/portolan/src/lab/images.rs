//! `lab image` and `lab load`: the store of images that the lab's nodes share.

use std::path::Path;

use anyhow::Context;
use portolan_node::pods::images::ImageStore;

use super::exec::load as load_plan;
use super::paths::Paths;
use super::requirements;

fn store(lab: &str, command: &'static str) -> anyhow::Result<ImageStore> {
    requirements::root(command)?;
    let paths = Paths::of(lab);
    load_plan(lab, &paths)?;
    Ok(ImageStore::open(paths.images())?)
}

/// Adds an image that is the host's root file system running `command`.
pub fn add(lab: &str, image: &str, command: Vec<String>) -> anyhow::Result<String> {
    let store = store(lab, "lab image")?;
    let image = store.add(image, command).with_context(|| format!("cannot add image {image}"))?;
    Ok(image.name)
}

/// Loads an OCI or docker archive; the names of its images.
pub fn load(lab: &str, archive: &Path) -> anyhow::Result<Vec<String>> {
    let store = store(lab, "lab load")?;
    let images =
        store.load(archive).with_context(|| format!("cannot load {}", archive.display()))?;
    Ok(images.into_iter().map(|image| image.name).collect())
}
