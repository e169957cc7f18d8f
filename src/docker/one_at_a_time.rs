//! Turns: what works on the same thing waits for one another.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// A lock for each key that is in use.
pub(super) struct OneAtATime<K> {
    turns: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for OneAtATime<K> {
    fn default() -> Self {
        OneAtATime { turns: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash> OneAtATime<K> {
    /// Waits for everybody else who entered with this key to leave, then holds
    /// the turn for as long as the guard lives.
    pub async fn enter(&self, key: &K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody holds or waits for any more is forgotten.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(key.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn the_second_waits_for_the_first_of_the_same_key_only() {
        let turns = OneAtATime::default();
        let first = turns.enter(&"a").await;
        assert!(turns.enter(&"a").now_or_never().is_none());
        assert!(turns.enter(&"b").now_or_never().is_some());
        drop(first);
        assert!(turns.enter(&"a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_key_that_nobody_uses_is_forgotten() {
        let turns = OneAtATime::default();
        for key in 0..100 {
            drop(turns.enter(&key).await);
        }
        assert_eq!(turns.turns.lock().expect("not poisoned").len(), 1);
    }
}
