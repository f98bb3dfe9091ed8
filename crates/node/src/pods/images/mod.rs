//! Images: built in, the host's root file system under a name, or loaded from an archive.
//!
//! The store is a directory that every node of a lab shares: one JSON file per name, and one
//! unpacked root file system per loaded image. It may change while nodes run.

mod archive;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::shim::spec;

/// What an image is and runs by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was named, with its tag.
    pub name: String,
    pub content: Content,
    /// What always runs; `command` of a container replaces it.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// What follows the entrypoint; `args` of a container replaces it.
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub env: Vec<(String, String)>,
    #[serde(default)]
    pub directory: String,
    /// `USER[:GROUP]`, names or numbers.
    #[serde(default)]
    pub user: String,
    /// The signal that asks its process to end, `SIGTERM` unless given.
    #[serde(default)]
    pub stop_signal: String,
    /// Identifies the content.
    pub id: String,
    /// In bytes.
    #[serde(default)]
    pub size: u64,
}

/// Where an image's files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The host's root file system, read-only.
    #[default]
    Host,
    /// A directory.
    Unpacked(PathBuf),
}

/// What goes wrong with the image store.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("\"{0}\" is not an image name")]
    Name(String),
    #[error("an image needs a command")]
    NoCommand,
    #[error("{0}")]
    Archive(String),
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

impl ImageError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The images that can be run without pulling.
#[derive(Clone, Debug)]
pub struct ImageStore {
    directory: PathBuf,
}

impl ImageStore {
    /// The store in `directory`, which is made if it does not exist.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let directory = directory.into();
        fs::create_dir_all(directory.join("names"))
            .map_err(ImageError::io(format!("create image store {}", directory.display())))?;
        Ok(Self { directory })
    }

    /// The directory whose entries are the images' names: it changes when an image is added.
    pub fn names_directory(&self) -> PathBuf {
        self.directory.join("names")
    }

    /// Adds an image that is the host's root file system, read-only, running `command`.
    pub fn add(&self, name: &str, command: Vec<String>) -> Result<Image, ImageError> {
        if command.is_empty() {
            return Err(ImageError::NoCommand);
        }
        let id = digest(&serde_json::to_vec(&command).unwrap_or_default());
        let image = Image { name: name.to_owned(), entrypoint: command, id, ..Image::default() };
        self.put(image)
    }

    /// Loads an OCI or docker archive and returns the images in it.
    ///
    /// # Errors
    /// Fails if the file is no such archive, holds no name, or was packed in a way not known
    /// here; the store is then as before.
    pub fn load(&self, archive: &Path) -> Result<Vec<Image>, ImageError> {
        let images = archive::unpack(archive, &self.directory)?;
        images.into_iter().map(|image| self.put(image)).collect()
    }

    fn put(&self, image: Image) -> Result<Image, ImageError> {
        let image = Image { name: normalize(&image.name)?, ..image };
        let path = self.entry(&image.name);
        spec::write(&path, &image).map_err(ImageError::io(format!("write {}", path.display())))?;
        Ok(image)
    }

    /// The image that `name` stands for, if it is here.
    pub fn find(&self, name: &str) -> Option<Image> {
        let name = normalize(name).ok()?;
        spec::read(&self.entry(&name)).ok()
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let names = self.names_directory();
        let entries = fs::read_dir(&names).map_err(ImageError::io("list images".to_owned()))?;
        let mut images: Vec<Image> = entries
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
            .filter_map(|e| spec::read(&e.path()).ok())
            .collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    fn entry(&self, normalized: &str) -> PathBuf {
        let file = normalized.replace('%', "%25").replace('/', "%2F");
        self.names_directory().join(format!("{file}.json"))
    }
}

/// An image's full name as this store writes it: without Docker's default registry, with a tag.
///
/// `nginx`, `docker.io/library/nginx` and `nginx:latest` are the same image.
pub fn normalize(name: &str) -> Result<String, ImageError> {
    let bad = || ImageError::Name(name.to_owned());
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if name.is_empty() || name.len() > 512 || !name.chars().all(allowed) || name.contains("//") {
        return Err(bad());
    }
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let last = short.rsplit('/').next().unwrap_or(short);
    let starts_well = short.starts_with(|c: char| c.is_ascii_alphanumeric());
    if last.is_empty() || !starts_well || last.starts_with(':') || last.ends_with(':') {
        return Err(bad());
    }
    let tagged = last.contains(':') || last.contains('@');
    Ok(if tagged { short.to_owned() } else { format!("{short}:latest") })
}

/// The SHA-256 of `bytes`, written as image digests are.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in sha2::Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_however_they_are_written() {
        for name in ["nginx", "nginx:latest", "docker.io/library/nginx", "library/nginx:latest"] {
            assert_eq!(normalize(name).unwrap(), "nginx:latest");
        }
        assert_eq!(normalize("portolan/echo").unwrap(), "portolan/echo:latest");
        assert_eq!(normalize("reg:5000/a/b").unwrap(), "reg:5000/a/b:latest");
        assert_eq!(normalize("a@sha256:00").unwrap(), "a@sha256:00");
        for bad in ["", "a b", "../x", "/x", "x/", "x:", "a//b", ":x"] {
            assert!(normalize(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn images_are_found_again_by_any_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        assert!(store.find("mine").is_none());
        let image = store.add("mine", vec!["sleep".into(), "1".into()]).unwrap();
        assert_eq!(image.name, "mine:latest");
        assert_eq!(store.find("docker.io/library/mine").unwrap(), image);
        store.add("a/b:2", vec!["true".into()]).unwrap();
        let names: Vec<_> = store.list().unwrap().into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["a/b:2", "mine:latest"]);
        assert!(matches!(store.add("x", vec![]), Err(ImageError::NoCommand)));
    }
}
