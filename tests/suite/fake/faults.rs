//! What goes wrong, on command: which call of which operation, and how.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As the service says that it is asked too often: an exception, or 429 from the token endpoint.
    Throttled,
    /// The token endpoint's other way to say so, as the field reports: 400 and some words on the rate.
    RateExceeded,
    /// This error, by its name, which must be one that the operation may answer with.
    Error(&'static str),
    /// An error of the service's own, by the name that the operation has for it.
    Internal,
    /// This HTTP status with a page of a proxy in between.
    Status(u16),
    /// No answer, and no effect either, until [`release`](Faults::release)d; then all goes on. A caller that gave up
    /// before has had no effect.
    Hang,
    /// The effect, but no answer until [`release`](Faults::release)d.
    HangAfter,
    /// The connection is reset and nothing was done.
    ResetBefore,
    /// The effect, then a reset.
    ResetAfter,
    /// The effect, and half an answer.
    TornBody,
    /// The effect, and the connection is closed without a word.
    LostAnswer,
}

/// When a fault comes: after so many calls that match, counted from the order on, and for how many of them.
#[derive(Clone, Debug)]
pub struct After {
    calls: usize,
    operation: Option<String>,
    times: usize,
}

impl After {
    /// After `calls` that go well; once.
    pub fn calls(calls: usize) -> Self {
        After { calls, operation: None, times: 1 }
    }

    /// Only calls of this operation count: `CreateUserPool`, or with its service `cognito-idp:TagResource`. The token
    /// endpoint is `Token`, the key set `Keys`.
    pub fn of(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    pub fn for_ever(self) -> Self {
        self.times(usize::MAX)
    }

    fn matches(&self, action: &str) -> bool {
        let name = action.split_once(':').map_or(action, |(_, name)| name);
        self.operation.as_ref().is_none_or(|wanted| wanted == action || wanted == name)
    }
}

/// The orders that stand.
pub struct Faults {
    orders: Mutex<Vec<(After, Fault)>>,
    released: watch::Sender<u64>,
    hanging: watch::Sender<usize>,
    /// How many calls have met one.
    met: AtomicUsize,
}

impl Faults {
    pub fn new() -> Self {
        Faults {
            orders: Mutex::default(),
            released: watch::Sender::new(0),
            hanging: watch::Sender::new(0),
            met: AtomicUsize::new(0),
        }
    }

    pub fn order(&self, after: After, fault: Fault) {
        self.orders.lock().expect("the orders").push((after, fault));
    }

    pub fn clear(&self) {
        self.orders.lock().expect("the orders").clear();
    }

    /// How many calls have met a fault.
    pub fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// Counts a call; the fault that it meets, the one ordered first of several.
    pub fn meet(&self, action: &str) -> Option<Fault> {
        let mut met = None;
        for (after, fault) in
            self.orders.lock().expect("the orders").iter_mut().filter(|(after, _)| after.matches(action))
        {
            if after.calls > 0 {
                after.calls -= 1;
            } else if after.times > 0 && met.is_none() {
                after.times -= 1;
                met = Some(*fault);
            }
        }
        self.met.fetch_add(usize::from(met.is_some()), Ordering::SeqCst);
        met
    }

    /// Lets every call go on that hangs now.
    pub fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }

    /// Returns once at least `count` calls hang.
    pub async fn wait_for_hanging(&self, count: usize) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.hanging.subscribe().wait_for(|hanging| *hanging >= count).await;
    }

    pub fn hanging(&self) -> usize {
        *self.hanging.borrow()
    }

    /// Returns once no call hangs.
    pub async fn wait_for_none_hanging(&self) {
        let _ = self.hanging.subscribe().wait_for(|hanging| *hanging == 0).await;
    }

    pub async fn hang(&self) {
        let mut released = self.released.subscribe();
        self.hanging.send_modify(|hanging| *hanging += 1);
        let _place = Place(&self.hanging);
        let _ = released.changed().await;
    }
}

/// A hanging call's place, given up when it goes on or its caller gives up.
struct Place<'a>(&'a watch::Sender<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|hanging| *hanging -= 1);
    }
}
