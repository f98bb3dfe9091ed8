//! The committed object is what its source gives.

use std::path::Path;
use std::process::Command;

#[test]
#[allow(clippy::print_stderr)]
fn the_object_is_what_the_source_gives() {
    let found = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !found("clang-14") || !found("llvm-strip-14") {
        eprintln!("skipped: clang-14 and llvm-strip-14 are not here, and others give other bytes");
        return;
    }
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proxy/datapath/ebpf/bpf").canonicalize();
    let folder = folder.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let fresh = directory.path().join("socket.bpf.o");
    // As `cargo xtask bpf` does it.
    let compiled = Command::new("clang-14")
        .current_dir(&folder)
        .args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-fdebug-compilation-dir=.", "-c", "socket.bpf.c"])
        .arg(format!("-ffile-prefix-map={}=.", folder.display()))
        .arg("-o")
        .arg(&fresh)
        .status();
    assert!(compiled.unwrap().success());
    let stripped = Command::new("llvm-strip-14").arg("-g").arg(&fresh).status();
    assert!(stripped.unwrap().success());
    let same = std::fs::read(&fresh).unwrap() == super::layout::object();
    assert!(same, "socket.bpf.o is not what socket.bpf.c gives; run: cargo xtask bpf");
}
