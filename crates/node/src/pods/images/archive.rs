//! Image archives: what `docker save` and `skopeo copy … oci-archive:` write.
//!
//! Formats: the OCI image layout (index.json, image manifest and configuration of the OCI image
//! specification 1.1) and docker's `manifest.json`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Content, Image, ImageError, digest};

/// The files of an archive by name, with where their bytes are.
struct Archive {
    file: File,
    entries: HashMap<String, (u64, u64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Unpacks every named image of `archive` below `store` and describes them.
pub(super) fn unpack(archive: &Path, store: &Path) -> Result<Vec<Image>, ImageError> {
    let mut archive = Archive::open(archive)?;
    let found = if archive.entries.contains_key("manifest.json") {
        archive.docker_images()?
    } else if archive.entries.contains_key("index.json") {
        archive.oci_images()?
    } else {
        return Err(ImageError::Archive("neither an OCI nor a docker archive".to_owned()));
    };
    if found.is_empty() {
        return Err(ImageError::Archive("the archive names no image".to_owned()));
    }
    found
        .into_iter()
        .map(|(name, config, layers)| archive.image(name, &config, &layers, store))
        .collect()
}

type Found = (String, String, Vec<String>);

impl Archive {
    fn open(path: &Path) -> Result<Self, ImageError> {
        let what = || format!("read archive {}", path.display());
        let mut file = File::open(path).map_err(ImageError::io(what()))?;
        let mut entries = HashMap::new();
        for entry in tar::Archive::new(&file).entries_with_seek().map_err(ImageError::io(what()))? {
            let entry = entry.map_err(ImageError::io(what()))?;
            let name = entry.path().map_err(ImageError::io(what()))?.to_string_lossy().into_owned();
            let name = name.trim_start_matches("./").to_owned();
            let at = (entry.raw_file_position(), entry.size());
            // docker save links layers that several images share.
            if let (true, Ok(Some(to))) =
                (entry.header().entry_type().is_symlink(), entry.link_name())
            {
                let target = to.to_string_lossy().trim_start_matches("../").to_owned();
                if let Some(at) = entries.get(&target).copied() {
                    entries.insert(name, at);
                }
                continue;
            }
            entries.insert(name, at);
        }
        file.rewind().map_err(ImageError::io(what()))?;
        Ok(Self { file, entries })
    }

    fn reader(&mut self, name: &str) -> Result<io::Take<&mut File>, ImageError> {
        let missing = || ImageError::Archive(format!("the archive lacks {name}"));
        let (at, size) = *self.entries.get(name).ok_or_else(missing)?;
        self.file.seek(SeekFrom::Start(at)).map_err(ImageError::io(format!("read {name}")))?;
        Ok((&mut self.file).take(size))
    }

    /// A small file of the archive, as JSON.
    fn json(&mut self, name: &str) -> Result<(Value, Vec<u8>), ImageError> {
        let mut bytes = Vec::new();
        let read = self.reader(name)?.take(16 << 20).read_to_end(&mut bytes);
        read.map_err(ImageError::io(format!("read {name}")))?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|e| ImageError::Archive(format!("{name} is not JSON: {e}")))?;
        Ok((value, bytes))
    }

    fn docker_images(&mut self) -> Result<Vec<Found>, ImageError> {
        let (list, _) = self.json("manifest.json")?;
        let list: Vec<DockerImage> = serde_json::from_value(list)
            .map_err(|e| ImageError::Archive(format!("manifest.json: {e}")))?;
        let mut found = Vec::new();
        for image in list {
            for name in image.repo_tags.unwrap_or_default() {
                found.push((name, image.config.clone(), image.layers.clone()));
            }
        }
        Ok(found)
    }

    fn oci_images(&mut self) -> Result<Vec<Found>, ImageError> {
        let (index, _) = self.json("index.json")?;
        let mut found = Vec::new();
        for descriptor in index["manifests"].as_array().into_iter().flatten() {
            let notes = &descriptor["annotations"];
            let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
                .iter()
                .find_map(|key| notes[*key].as_str());
            let Some(name) = name else { continue };
            let (mut manifest, _) = self.json(&blob(&descriptor["digest"])?)?;
            // An index of platforms: take this machine's, or the first.
            if let Some(platforms) = manifest["manifests"].as_array() {
                let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
                let mine = platforms.iter().find(|m| m["platform"]["architecture"] == arch);
                let chosen =
                    mine.or(platforms.first()).map_or(Value::Null, |m| m["digest"].clone());
                manifest = self.json(&blob(&chosen)?)?.0;
            }
            let config = blob(&manifest["config"]["digest"])?;
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let layers = layers.map(|l| blob(&l["digest"])).collect::<Result<_, _>>()?;
            found.push((name.to_owned(), config, layers));
        }
        Ok(found)
    }

    /// Unpacks the layers one over the other and reads the configuration.
    fn image(
        &mut self,
        name: String,
        config: &str,
        layers: &[String],
        store: &Path,
    ) -> Result<Image, ImageError> {
        let (config, bytes) = self.json(config)?;
        let id = digest(&bytes);
        let rootfs = store.join("roots").join(id.trim_start_matches("sha256:"));
        let mut size = 0;
        for layer in layers {
            size += self.entries.get(layer).map_or(0, |e| e.1);
        }
        if !rootfs.exists() {
            let partial = rootfs.with_extension("partial");
            let _ = fs::remove_dir_all(&partial);
            fs::create_dir_all(&partial).map_err(ImageError::io("create an image's directory"))?;
            for layer in layers {
                let reader = io::BufReader::with_capacity(1 << 16, self.reader(layer)?);
                apply_layer(reader, &partial)
                    .map_err(ImageError::io(format!("unpack layer {layer}")))?;
            }
            fs::rename(&partial, &rootfs).map_err(ImageError::io("finish an image's directory"))?;
        }
        let run = &config["config"];
        let env = strings(&run["Env"]).into_iter().map(|variable| match variable.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (variable, String::new()),
        });
        let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
        Ok(Image {
            name,
            content: Content::Unpacked(rootfs),
            entrypoint: strings(&run["Entrypoint"]),
            command: strings(&run["Cmd"]),
            env: env.collect(),
            directory: text("WorkingDir"),
            user: text("User"),
            stop_signal: text("StopSignal"),
            id,
            size,
        })
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str()).map(str::to_owned).collect()
}

/// Where an OCI layout keeps the content with `digest`.
fn blob(digest: &Value) -> Result<String, ImageError> {
    let split = digest.as_str().and_then(|d| d.split_once(':'));
    let (algorithm, hex) =
        split.ok_or_else(|| ImageError::Archive("a descriptor has no digest".to_owned()))?;
    Ok(format!("blobs/{algorithm}/{hex}"))
}

/// Unpacks one layer, gzipped or plain, over what is in `root`: names that start with `.wh.` take
/// away what lower layers had there.
fn apply_layer(mut reader: impl io::BufRead, root: &Path) -> io::Result<()> {
    let magic = reader.fill_buf()?;
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "zstd layers are not supported; save it with gzip",
        ));
    }
    if magic.starts_with(&[0x1f, 0x8b]) {
        return apply_tar(flate2::bufread::MultiGzDecoder::new(reader), root);
    }
    apply_tar(reader, root)
}

fn apply_tar(reader: impl Read, root: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    archive.set_overwrite(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(parent) = safe_join(root, path.parent().unwrap_or(Path::new("")))? else {
            continue;
        };
        if name == ".wh..wh..opq" {
            for child in fs::read_dir(&parent).into_iter().flatten().flatten() {
                remove(&child.path())?;
            }
        } else if let Some(hidden) = name.strip_prefix(".wh.") {
            remove(&parent.join(hidden))?;
        } else {
            // A later layer may put a file where a directory was, and the other way round.
            let target = parent.join(&name);
            let is_directory = entry.header().entry_type().is_dir();
            if target.symlink_metadata().is_ok_and(|m| m.is_dir() != is_directory)
                && !name.is_empty()
            {
                remove(&target)?;
            }
            entry.unpack_in(root)?;
        }
    }
    Ok(())
}

/// `path` below `root` if it cannot leave it: no `..`, and no symbolic link on the way.
fn safe_join(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut at = root.to_owned();
    for part in path.components() {
        match part {
            Component::Normal(name) => at.push(name),
            Component::CurDir | Component::RootDir => continue,
            _ => return Ok(None),
        }
        match at.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                // Some images put files through a link such as /bin -> usr/bin: fine if it stays inside.
                let real = fs::canonicalize(&at)?;
                if !real.starts_with(fs::canonicalize(root)?) {
                    return Ok(None);
                }
            }
            _ => {}
        }
    }
    Ok(Some(at))
}

fn remove(path: &Path) -> io::Result<()> {
    let result = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
