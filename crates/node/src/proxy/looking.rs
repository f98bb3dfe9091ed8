//! When the next piece of a round of looking for drift is due.

use std::future::pending;

use tokio::task::yield_now;

use super::datapath::Drift;

/// How far a round of looking for drift is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Looking {
    Not,
    Due,
    /// A piece was done just now; whatever waits comes before the next.
    Polite,
}

impl Looking {
    pub(super) fn after(found: Drift) -> Self {
        if found == Drift::Unfinished { Self::Polite } else { Self::Not }
    }

    /// Once something else was done, the round goes on, however much more of that there is.
    pub(super) fn after_others(self) -> Self {
        if matches!(self, Self::Polite) { Self::Due } else { self }
    }

    /// Until the next piece is due.
    pub(super) async fn due(self) {
        match self {
            Self::Not => pending().await,
            Self::Due => {}
            // Whatever is ready now goes first.
            Self::Polite => yield_now().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// Whether the next piece comes before something else that is ready.
    async fn goes_first(looking: Looking) -> bool {
        tokio::select! {
            biased;
            () = looking.due() => true,
            () = ready(()) => false,
        }
    }

    #[tokio::test]
    async fn others_come_between_two_pieces_and_not_for_ever() {
        let looking = Looking::after(Drift::Unfinished);
        assert!(!goes_first(looking).await);
        let looking = looking.after_others();
        assert!(goes_first(looking).await && goes_first(looking.after_others()).await);
        // When nothing else is there, it goes on.
        Looking::after(Drift::Unfinished).due().await;
        for ended in [Drift::None, Drift::Possible] {
            assert!(!goes_first(Looking::after(ended)).await);
        }
    }
}
