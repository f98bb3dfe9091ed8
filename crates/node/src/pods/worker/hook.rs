//! What a container asks to be done after its start and before its end.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::Running;
use crate::pods::{
    exec::{self, Outcome},
    probe,
};

/// Hooks have no time of their own: what limits them is the pod's end.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook to its end. The error says why it failed.
pub(super) async fn run(
    handler: &LifecycleHandler,
    container: &Container,
    running: Running,
    ip: Option<IpAddr>,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let argv = action.command.clone().unwrap_or_default();
        let shown = argv.join(" ");
        return match exec::run(running, argv, FOREVER).await {
            Outcome::Ended(0, _) => Ok(()),
            Outcome::Ended(code, text) => {
                Err(format!("command '{shown}' exited with {code}: {}", text.trim_end()))
            }
            Outcome::TimedOut => Err(format!("command '{shown}' timed out")),
            Outcome::Failed(why) => Err(format!("command '{shown}' could not be run: {why}")),
        };
    }
    if let Some(action) = &handler.http_get {
        let ip = ip.ok_or("the pod has no address")?;
        return probe::request(action, container, ip, "kube-lifecycle/1.36", FOREVER)
            .await
            .map(drop);
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(action.seconds.max(0).cast_unsigned())).await;
    }
    Ok(())
}
