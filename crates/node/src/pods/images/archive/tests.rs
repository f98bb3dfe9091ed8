use std::io::Write;

use serde_json::json;

use super::super::ImageStore;
use super::*;

/// A tar archive of files; a name that ends with `/` is a directory.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o640 });
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn config() -> Vec<u8> {
    let config = json!({"config": {
        "Entrypoint": ["/bin/thing"], "Cmd": ["-x"], "Env": ["A=b=c", "EMPTY"],
        "WorkingDir": "/srv", "User": "12:34", "StopSignal": "SIGQUIT"
    }});
    serde_json::to_vec(&config).unwrap()
}

fn layers() -> (Vec<u8>, Vec<u8>) {
    let lower = tar_of(&[
        ("etc/", b""),
        ("etc/keep", b"1"),
        ("etc/gone", b"1"),
        ("all/", b""),
        ("all/old", b"1"),
        ("swap/", b""),
        ("swap/x", b"1"),
    ]);
    let upper = tar_of(&[
        ("etc/.wh.gone", b""),
        ("all/.wh..wh..opq", b""),
        ("all/new", b"2"),
        ("swap", b"file"),
        ("etc/keep", b"2"),
    ]);
    (lower, upper)
}

fn check(image: &Image) {
    let Content::Unpacked(root) = &image.content else { panic!("not unpacked") };
    assert_eq!(fs::read(root.join("etc/keep")).unwrap(), b"2");
    assert!(!root.join("etc/gone").exists());
    assert!(!root.join("all/old").exists() && root.join("all/new").exists());
    assert_eq!(fs::read(root.join("swap")).unwrap(), b"file");
    assert_eq!(image.entrypoint, ["/bin/thing"]);
    assert_eq!(image.command, ["-x"]);
    assert_eq!(image.env, [("A".into(), "b=c".into()), ("EMPTY".into(), String::new())]);
    assert_eq!((image.directory.as_str(), image.user.as_str()), ("/srv", "12:34"));
    assert_eq!(image.stop_signal, "SIGQUIT");
}

#[test]
fn a_docker_archive_is_unpacked_with_its_whiteouts() {
    let dir = tempfile::tempdir().unwrap();
    let (lower, upper) = layers();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["thing:1", "other/thing:2"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let archive = tar_of(&[
        ("a/layer.tar", &lower),
        ("b/layer.tar", &upper),
        ("c.json", &config()),
        ("manifest.json", &serde_json::to_vec(&manifest).unwrap()),
    ]);
    let path = dir.path().join("image.tar");
    fs::write(&path, archive).unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let images = store.load(&path).unwrap();
    assert_eq!(images.len(), 2);
    check(&images[0]);
    assert_eq!(store.find("thing:1").unwrap(), images[0]);
    check(&store.find("other/thing:2").unwrap());
    // Again: nothing changes.
    assert_eq!(store.load(&path).unwrap(), images);
}

#[test]
fn an_oci_archive_is_unpacked_for_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (lower, upper) = layers();
    let (lower, upper, config) = (gzip(&lower), gzip(&upper), config());
    let name = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let manifest = serde_json::to_vec(&json!({
        "config": {"digest": digest(&config)},
        "layers": [{"digest": digest(&lower)}, {"digest": digest(&upper)}]
    }))
    .unwrap();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let platforms = serde_json::to_vec(&json!({"manifests": [
        {"digest": "sha256:00", "platform": {"architecture": "riscv64"}},
        {"digest": digest(&manifest), "platform": {"architecture": arch}}
    ]}))
    .unwrap();
    let index = serde_json::to_vec(&json!({"manifests": [
        {"digest": digest(&platforms), "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/oci:3"}}
    ]}))
    .unwrap();
    let archive = tar_of(&[
        ("oci-layout", b"{}"),
        ("index.json", &index),
        (&name(&platforms), &platforms),
        (&name(&manifest), &manifest),
        (&name(&config), &config),
        (&name(&lower), &lower),
        (&name(&upper), &upper),
    ]);
    let path = dir.path().join("image.tar");
    fs::write(&path, archive).unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let images = store.load(&path).unwrap();
    assert_eq!(images[0].name, "oci:3");
    check(&images[0]);
}

#[test]
fn what_is_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let path = dir.path().join("x.tar");
    fs::write(&path, tar_of(&[("hello", b"x")])).unwrap();
    assert!(matches!(store.load(&path), Err(ImageError::Archive(_))));
    fs::write(&path, b"not a tar archive at all, but long enough to be looked at").unwrap();
    assert!(store.load(&path).is_err());
    assert!(matches!(store.load(Path::new("/no/such")), Err(ImageError::Io { .. })));
    let manifest =
        serde_json::to_vec(&json!([{"Config": "c", "RepoTags": ["x"], "Layers": ["gone"]}]))
            .unwrap();
    fs::write(&path, tar_of(&[("manifest.json", &manifest), ("c", b"{}")])).unwrap();
    assert_eq!(store.load(&path).unwrap_err().to_string(), "the archive lacks gone");
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_layer_cannot_write_or_delete_outside_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(dir.path().join("precious"), "1").unwrap();
    std::os::unix::fs::symlink(dir.path(), root.join("out")).unwrap();
    let mut bytes = tar_of(&[("out/.wh.precious", b""), ("out/.wh..wh..opq", b"")]);
    apply_tar(&bytes[..], &root).unwrap();
    bytes = tar_of(&[("out/new", b"1")]);
    let _ = apply_tar(&bytes[..], &root);
    assert!(dir.path().join("precious").exists());
    assert!(!dir.path().join("new").exists());
}
