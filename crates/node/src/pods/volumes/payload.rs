//! Volumes whose files the node writes, replaced as a whole: the visible names are links through
//! `..data`, which is a link to the current directory and is swapped by a rename.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path, PathBuf},
};

/// Content and permissions by path relative to the volume.
pub(super) type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Writes one volume.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    group: Option<u32>,
}

impl Writer {
    /// `group` (`fsGroup`) gets the files if given.
    pub(super) fn new(directory: PathBuf, group: Option<i64>) -> Self {
        Self { directory, group: group.and_then(|g| u32::try_from(g).ok()) }
    }

    /// Makes the volume's content `files`, all at once.
    ///
    /// # Errors
    /// Fails on a path that leaves the volume; the old content then stays.
    pub(super) fn write(&self, files: &Files) -> io::Result<()> {
        for path in files.keys() {
            let fine = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
            if !fine || path.is_empty() || path.starts_with("..") {
                return Err(io::Error::other(format!("invalid path: {path:?}")));
            }
        }
        fs::create_dir_all(&self.directory)?;
        let old = fs::read_link(self.directory.join("..data")).ok();
        let stamp = jiff::Zoned::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
        let fresh = self.directory.join(&stamp);
        fs::create_dir(&fresh)?;
        for (path, (bytes, mode)) in files {
            let target = fresh.join(path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&target, bytes)?;
            let mut mode = *mode;
            if let Some(group) = self.group {
                chown(&target, None, Some(group))?;
                mode |= 0o040;
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
        let swap = self.directory.join("..data_tmp");
        let _ = fs::remove_file(&swap);
        symlink(&stamp, &swap)?;
        fs::rename(&swap, self.directory.join("..data"))?;
        self.link_names(files)?;
        if let Some(old) = old {
            fs::remove_dir_all(self.directory.join(old))?;
        }
        Ok(())
    }

    /// Makes the visible names those of `files`.
    fn link_names(&self, files: &Files) -> io::Result<()> {
        let top = |path: &str| path.split('/').next().unwrap_or(path).to_owned();
        let wanted: std::collections::BTreeSet<_> = files.keys().map(|p| top(p)).collect();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !wanted.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        for name in wanted {
            let link = self.directory.join(&name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(&name), link)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(p, c)| ((*p).to_owned(), (c.as_bytes().to_vec(), 0o644))).collect()
    }

    fn seen(directory: &Path) -> Files {
        fn walk(root: &Path, at: &Path, found: &mut Files) {
            for entry in fs::read_dir(at).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                let path = entry.path();
                if name.starts_with("..") {
                    continue;
                }
                let meta = fs::metadata(&path).unwrap();
                if meta.is_dir() {
                    walk(root, &path, found);
                } else {
                    let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    found.insert(
                        relative,
                        (fs::read(&path).unwrap(), meta.permissions().mode() & 0o777),
                    );
                }
            }
        }
        let mut found = Files::new();
        walk(directory, directory, &mut found);
        found
    }

    #[test]
    fn content_is_swapped_by_one_link() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(dir.path().join("v"), None);
        writer.write(&files(&[("a", "1"), ("d/e", "2")])).unwrap();
        let v = dir.path().join("v");
        assert_eq!(fs::read_link(v.join("a")).unwrap(), Path::new("..data/a"));
        let before = fs::read_link(v.join("..data")).unwrap();
        writer.write(&files(&[("a", "3")])).unwrap();
        assert_ne!(fs::read_link(v.join("..data")).unwrap(), before);
        assert!(!v.join(before).exists());
        assert_eq!(seen(&v), files(&[("a", "3")]));
        for bad in ["../x", "/x", "a/../b", "", "..x"] {
            assert!(writer.write(&files(&[(bad, "")])).is_err(), "{bad}");
        }
        assert_eq!(seen(&v), files(&[("a", "3")]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn whatever_was_there_before_only_the_last_content_is_seen(steps in proptest::collection::vec(proptest::collection::btree_map("[a-c](/[a-c])?", "[x-z]{0,3}", 0..4), 1..4)) {
            let dir = tempfile::tempdir().unwrap();
            let writer = Writer::new(dir.path().join("v"), None);
            for step in steps {
                // A path cannot be a file and a directory at once.
                let step: Files = step.iter().filter(|(p, _)| p.contains('/') || !step.keys().any(|o| o.starts_with(&format!("{p}/"))))
                    .map(|(p, c)| (p.clone(), (c.as_bytes().to_vec(), 0o600))).collect();
                writer.write(&step).unwrap();
                prop_assert_eq!(seen(&dir.path().join("v")), step);
            }
        }
    }
}
