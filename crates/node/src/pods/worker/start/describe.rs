//! A run of a container in words for its shim, and its end in words for the pod's status.

use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};

use super::super::{Worker, member::Member};
use crate::pods::{
    environment::expand,
    images::{Content, Image},
    shim::spec::{BindMount, Exit, Root, Spec, User},
    status::Terminated,
};

/// Most of a termination message that is kept, in bytes.
const MESSAGE: usize = 4096;

impl Worker {
    pub(super) fn describe(
        &self,
        i: usize,
        image: &Image,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<Spec, String> {
        let member = &self.members[i];
        let container = &member.container;
        let spec = self.pod.spec.as_ref().ok_or("the pod has no spec")?;
        let sandbox = self.sandbox.as_ref().ok_or("the pod has no sandbox")?;
        if argv.is_empty() {
            return Err("no command specified".to_owned());
        }
        let attempt = member.attempt + 1;
        let run = member.dir(&self.dir).join(attempt.to_string());
        let mut mounts = Vec::new();
        for (file, target) in [
            ("hosts", "/etc/hosts"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("hostname", "/etc/hostname"),
        ] {
            let source = self.dir.join("etc").join(file);
            mounts.push(BindMount { source, target: target.to_owned(), read_only: false });
        }
        for mount in container.volume_mounts.iter().flatten() {
            let volumes = self.volumes.as_ref();
            let place = volumes.and_then(|v| v.place(&mount.name));
            let place = place.ok_or_else(|| format!("no volume is called {}", mount.name))?;
            let lookup = |name: &str| env.iter().find(|v| v.0 == name).map(|v| v.1.clone());
            let within = match (&mount.sub_path, &mount.sub_path_expr) {
                (_, Some(expression)) if !expression.is_empty() => expand(expression, lookup),
                (Some(path), _) => path.clone(),
                _ => String::new(),
            };
            let source = sub_path(&place.path, &within, place.read_only)?;
            let read_only = place.read_only || mount.read_only == Some(true);
            mounts.push(BindMount { source, target: mount.mount_path.clone(), read_only });
        }
        let log = container.termination_message_path.as_deref().filter(|p| !p.is_empty());
        mounts.push(BindMount {
            source: run.join("termination-log"),
            target: log.unwrap_or("/dev/termination-log").to_owned(),
            read_only: false,
        });
        let config = &self.runtime.config;
        let own = container.security_context.as_ref();
        let (root, read_only) = match &image.content {
            Content::Host => (Root::Host { program: config.program.clone() }, true),
            Content::Unpacked(rootfs) => {
                let data =
                    self.runtime.pod_data(&self.uid).join("containers").join(&container.name);
                let data = data.join(attempt.to_string());
                let root = Root::Image {
                    rootfs: rootfs.clone(),
                    upper: data.join("upper"),
                    work: data.join("work"),
                };
                (root, own.and_then(|s| s.read_only_root_filesystem) == Some(true))
            }
        };
        let user = user(own, spec.security_context.as_ref(), image)?;
        let directory = container.working_dir.clone().filter(|d| !d.is_empty());
        let directory = directory.unwrap_or_else(|| image.directory.clone());
        Ok(Spec {
            argv,
            env,
            directory: if directory.is_empty() { "/".to_owned() } else { directory },
            user,
            root,
            read_only,
            mounts,
            hidden: vec![config.run_dir.clone(), config.root_dir.clone()],
            netns: sandbox.netns(&self.dir),
            uts: self.dir.join("uts"),
            ipc: self.dir.join("ipc"),
            host_pid: spec.host_pid == Some(true),
            cgroup: config
                .cgroup_parent
                .join(format!("pod{}", self.uid))
                .join(format!("{}-{attempt}", container.name)),
            log: member.dir(&self.dir).join(format!("{attempt}.log")),
        })
    }
}

/// A place in a volume; directories are made where they may be.
fn sub_path(volume: &Path, within: &str, read_only: bool) -> Result<std::path::PathBuf, String> {
    if within.is_empty() {
        return Ok(volume.to_owned());
    }
    if Path::new(within).is_absolute()
        || Path::new(within).components().any(|c| c.as_os_str() == "..")
    {
        return Err(format!("subPath {within:?} must stay within the volume"));
    }
    let path = volume.join(within);
    if !path.exists() && !read_only {
        std::fs::create_dir_all(&path)
            .map_err(|e| format!("failed to create subPath directory {within:?}: {e}"))?;
    }
    // A link must not lead out of the volume.
    let real =
        path.canonicalize().map_err(|e| format!("failed to prepare subPath {within:?}: {e}"))?;
    let base = volume.canonicalize().map_err(|e| e.to_string())?;
    if real.starts_with(base) {
        Ok(real)
    } else {
        Err(format!("subPath {within:?} leads out of the volume"))
    }
}

/// Whom the container runs as: its own wish, the pod's, the image's, or else root.
fn user(
    own: Option<&SecurityContext>,
    pod: Option<&PodSecurityContext>,
    image: &Image,
) -> Result<Option<User>, String> {
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let uid = number(own.and_then(|s| s.run_as_user).or(pod.and_then(|s| s.run_as_user)));
    let gid = number(own.and_then(|s| s.run_as_group).or(pod.and_then(|s| s.run_as_group)));
    let from_image = image_user(image)?;
    let mut groups: Vec<u32> = pod
        .and_then(|s| s.supplemental_groups.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|g| number(Some(*g)))
        .collect();
    groups.extend(number(pod.and_then(|s| s.fs_group)));
    let found = User {
        uid: uid.or(from_image.map(|u| u.0)).unwrap_or(0),
        gid: gid.or(from_image.filter(|_| uid.is_none()).map(|u| u.1)).unwrap_or(0),
        groups,
    };
    let non_root = own.and_then(|s| s.run_as_non_root).or(pod.and_then(|s| s.run_as_non_root));
    if non_root == Some(true) && found.uid == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    Ok((found != User::default()).then_some(found))
}

/// The user and group that an image asks for, looked up in its own files if they are names.
fn image_user(image: &Image) -> Result<Option<(u32, u32)>, String> {
    if image.user.is_empty() {
        return Ok(None);
    }
    let Content::Unpacked(root) = &image.content else { return Ok(None) };
    let (user, group) =
        image.user.split_once(':').map_or((image.user.as_str(), None), |(u, g)| (u, Some(g)));
    let read =
        |file: &str| std::fs::read_to_string(root.join("etc").join(file)).unwrap_or_default();
    let (passwd, groups) = (read("passwd"), read("group"));
    let line = |text: &str, key: &str, column: usize| -> Option<Vec<String>> {
        let lines = text.lines().map(|l| l.split(':').map(str::to_owned).collect::<Vec<_>>());
        lines.into_iter().find(|f| f.get(column).is_some_and(|v| v == key))
    };
    let entry = line(&passwd, user, if user.parse::<u32>().is_ok() { 2 } else { 0 });
    let field =
        |entry: &Option<Vec<String>>, n: usize| entry.as_ref().and_then(|e| e.get(n)?.parse().ok());
    let uid =
        user.parse().ok().or_else(|| field(&entry, 2)).ok_or_else(|| {
            format!("unable to find user {user}: no matching entries in passwd file")
        })?;
    let gid = match group {
        Some(group) => {
            let entry = line(&groups, group, 0);
            group.parse().ok().or_else(|| field(&entry, 2)).ok_or_else(|| {
                format!("unable to find group {group}: no matching entries in group file")
            })?
        }
        None => field(&entry, 3).unwrap_or(0),
    };
    Ok(Some((uid, gid)))
}

/// How the run that just ended shows in the pod's status.
pub(super) fn terminated(
    member: &Member,
    pod: &Path,
    uid: &str,
    started_at: Option<Timestamp>,
    exit: &Exit,
) -> Terminated {
    let run = member.run_dir(pod);
    let mut message = std::fs::read(run.join("termination-log")).unwrap_or_default();
    message.truncate(MESSAGE);
    let mut message = String::from_utf8_lossy(&message).into_owned();
    let fall_back =
        member.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if message.is_empty() && fall_back && exit.code != 0 {
        let log = member.dir(pod).join(format!("{}.log", member.attempt));
        message = crate::pods::server::logs::tail_text(&log, 80, 2048);
    }
    let reason = match (&exit.start_error, exit.code) {
        (Some(_), _) => "StartError",
        (None, 0) => "Completed",
        _ => "Error",
    };
    Terminated {
        code: exit.code,
        signal: exit.signal,
        reason: reason.to_owned(),
        message: exit.start_error.clone().unwrap_or(message),
        started_at,
        finished_at: exit.finished_at,
        container_id: member.id(uid),
    }
}

/// Removes what runs before the last one left.
pub(super) fn forget_old_runs(container: &Path, attempt: u32) {
    let Some(old) = attempt.checked_sub(2).filter(|n| *n > 0) else { return };
    let _ = std::fs::remove_dir_all(container.join(old.to_string()));
    let _ = std::fs::remove_file(container.join(format!("{old}.log")));
    let _ = std::fs::remove_file(container.join(format!("{old}.log.1")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_from_the_pod_or_the_image() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("etc/group"), "data:x:77:\n").unwrap();
        let image = |user: &str| Image {
            user: user.to_owned(),
            content: Content::Unpacked(dir.path().to_owned()),
            ..Image::default()
        };
        let of = |name: &str| user(None, None, &image(name)).map(|u| u.map(|u| (u.uid, u.gid)));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("web"), Ok(Some((33, 34))));
        assert_eq!(of("33"), Ok(Some((33, 34))));
        assert_eq!(of("web:data"), Ok(Some((33, 77))));
        assert_eq!(of("5:6"), Ok(Some((5, 6))));
        assert!(of("nobody").is_err() && of("web:none").is_err());
        let pod = PodSecurityContext {
            run_as_user: Some(1000),
            fs_group: Some(7),
            ..PodSecurityContext::default()
        };
        let own = SecurityContext { run_as_group: Some(9), ..SecurityContext::default() };
        assert_eq!(
            user(Some(&own), Some(&pod), &image("web")),
            Ok(Some(User { uid: 1000, gid: 9, groups: vec![7] }))
        );
        let careful = SecurityContext { run_as_non_root: Some(true), ..SecurityContext::default() };
        assert!(user(Some(&careful), None, &image("")).is_err());
    }

    #[test]
    fn sub_paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sub_path(dir.path(), "a/b", false).unwrap().is_dir());
        assert!(sub_path(dir.path(), "c", true).is_err());
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        for bad in ["../x", "/etc", "out", "a/../../x"] {
            assert!(sub_path(dir.path(), bad, false).is_err(), "{bad}");
        }
    }
}
