//! Why the controllers stop, and why the work on one object failed.

use kube::core::Status;

/// Why [`run`](crate::run) ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process leads now; this one must end, as its caches and plans are no longer the only ones.
    #[error("another process took over the lease {lease}")]
    LeadershipLost {
        /// Namespace and name of the Lease.
        lease: String,
    },
    /// A part of the controllers panicked.
    #[error("controller task failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Why the work on one object failed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or could not be reached.
    #[error("{attempt}")]
    Api {
        /// What was attempted.
        attempt: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The object cannot be worked on as it is.
    #[error("{0}")]
    Invalid(String),
}

impl ReconcileError {
    /// An object that cannot be worked on as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The Status that the API server answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => status(source),
            Self::Invalid(_) => None,
        }
    }

    /// Whether somebody else wrote the object meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|s| s.code == 409 && s.reason == "Conflict")
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|s| s.code == 404)
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|s| s.reason == "AlreadyExists")
    }

    /// Whether the namespace is being deleted, so that nothing new can be made in it.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|s| {
            s.code == 403
                && (s.message.contains("because it is being terminated")
                    || s.details.as_ref().is_some_and(|d| {
                        d.causes.iter().any(|c| c.reason == "NamespaceTerminating")
                    }))
        })
    }

    /// The words of the API server, or what was attempted.
    pub fn message(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => self.to_string(),
        }
    }
}

fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Names what was attempted.
pub(crate) trait Attempt<T> {
    /// Turns a client's error into one that says what was attempted.
    ///
    /// # Errors
    /// The error it was given, under its new name.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ReconcileError>;

    /// As [`attempt`](Attempt::attempt), and an object that is not there is `None`.
    ///
    /// # Errors
    /// Every other error.
    fn attempt_opt(self, what: impl FnOnce() -> String) -> Result<Option<T>, ReconcileError>;
}

impl<T> Attempt<T> for Result<T, kube::Error> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ReconcileError> {
        self.map_err(|source| ReconcileError::Api { attempt: what(), source: Box::new(source) })
    }

    fn attempt_opt(self, what: impl FnOnce() -> String) -> Result<Option<T>, ReconcileError> {
        match self {
            Err(error) if status(&error).is_some_and(|s| s.code == 404) => Ok(None),
            other => other.attempt(what).map(Some),
        }
    }
}
