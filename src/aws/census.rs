//! Which user pools of Keyward's there are in a Region, by their names, for whoever looks for one.
//!
//! Cognito has no index of names, so looking is walking through all pools, 60 a call and 15 calls a second. After a crash
//! many look at one time. So a walk is for everybody who asked before it began: two are enough, however many ask. It must
//! never answer somebody with what was seen before they asked: what they look for may be younger.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::broker::ports::PortResult;
use crate::domain::id::UserPoolId;

/// The oldest pool of each name, which is the one that others have found, too.
pub(super) type Seen = Arc<HashMap<String, UserPoolId>>;

/// The walks of one Region.
#[derive(Default)]
pub(super) struct Census {
    asked: AtomicU64,
    /// The last walk, and how many had asked before it began. Its end frees the next one.
    last: Mutex<Option<(u64, Seen)>>,
}

impl Census {
    /// What a walk has seen that began after this was called.
    pub async fn take(&self, walk: impl Future<Output = PortResult<HashMap<String, UserPoolId>>>) -> PortResult<Seen> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(asked, _)| *asked >= mine) {
            return Ok(seen.clone());
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let seen = Arc::new(walk.await?);
        // Nobody else waits for it, so nobody will be answered with it.
        *last = (asked > mine).then(|| (asked, seen.clone()));
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;
    use crate::broker::ports::{Fault, Peer, PortError};

    #[tokio::test]
    async fn those_who_ask_during_a_walk_share_the_next_one_and_a_failed_one_is_nobodys() {
        let (census, walks, go) = (Arc::new(Census::default()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = |fails: bool| {
            let (census, walks, go) = (census.clone(), walks.clone(), go.clone());
            tokio::spawn(async move {
                let walk = async {
                    walks.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    match fails {
                        true => Err(PortError::new(Peer::UserPools, Fault::Throttled, "look", "later")),
                        false => Ok(HashMap::new()),
                    }
                };
                census.take(walk).await
            })
        };
        let asked = |count: u64| {
            let census = census.clone();
            async move {
                while census.asked.load(Ordering::SeqCst) < count {
                    tokio::task::yield_now().await;
                }
            }
        };
        let first = ask(true);
        asked(1).await;
        let others: Vec<_> = (0..9).map(|_| ask(false)).collect();
        asked(10).await;
        go.notify_one();
        assert!(first.await.expect("ran").is_err());
        go.notify_one();
        for other in others {
            other.await.expect("ran").expect("seen");
        }
        assert_eq!(walks.load(Ordering::SeqCst), 2);
        let late = ask(false);
        go.notify_one();
        late.await.expect("ran").expect("seen");
        assert_eq!(walks.load(Ordering::SeqCst), 3, "what was seen before somebody asked is no answer");
    }
}
