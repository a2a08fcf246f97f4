//! How many calls are under way in all, and who is turned away when they are too many.
//!
//! A call counts from its headers until its answer was taken, so that one which is never sent to its end, or never read,
//! counts as well. Room is shared out by connections: each may have under way at most a fraction of what is still free.
//! So whoever fills what they may leaves something free, however many do the same, and a connection without a call under
//! way can make one for as long as there are more places than connections. Who is turned away is told RESOURCE_EXHAUSTED
//! with OVERLOADED, before anything of the call was read.
//!
//! Health and reflection have as many places of their own, so that a probe still learns that the broker serves when calls
//! are turned away.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::http::{Extensions, Request, Response};
use tower::{Layer, Service};

use super::bodies::{Buffers, Metered};
use super::counted::Counted;
use super::limits::is_ours;
use super::status::status;
use crate::domain::error::{Error, Reason};
use crate::gate::{CALL_ID_HEADER, call_id};
use crate::net::{Connection, Seldom};

/// Which part of the free places one connection may have.
const SHARE: usize = 4;

/// Turns calls away that are too many.
#[derive(Clone)]
pub struct Shed {
    calls: Arc<Places>,
    probes: Arc<Places>,
    buffers: Arc<Buffers>,
    counted: Arc<Counted>,
}

impl Shed {
    /// At most `calls` of ours and as many others; what is read of their requests is kept in `buffers`.
    pub fn new(calls: usize, buffers: Buffers, counted: Arc<Counted>) -> Self {
        Shed { calls: Places::new(calls), probes: Places::new(calls), buffers: Arc::new(buffers), counted }
    }

    /// A place for one of our calls; `None` where there is none, and it is to be turned away.
    pub fn place(&self, connection: &Connection) -> Option<Place> {
        self.calls.take(connection.tally())
    }
}

impl<S> Layer<S> for Shed {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Shedding<S> {
        Shedding { inner, shed: self.clone() }
    }
}

/// The service that [`Shed`] makes.
#[derive(Clone)]
pub struct Shedding<S> {
    inner: S,
    shed: Shed,
}

impl<S, In, Out> Service<Request<In>> for Shedding<S>
where
    S: Service<Request<Metered<In>>, Response = Response<Out>>,
    S::Future: Send + 'static,
    Out: Default + 'static,
{
    type Response = Response<Held<Out>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let places = match is_ours(request.uri().path()) {
            true => &self.shed.calls,
            false => &self.shed.probes,
        };
        let Some(place) = places.take(tally(request.extensions())) else {
            let status = turned_away(&request);
            self.shed.counted.refused(Reason::Overloaded);
            return async move { Ok(status.into_http::<Out>().map(|body| Held { body, _place: None })) }.boxed();
        };
        let buffers = self.shed.buffers.clone();
        let answer = self.inner.call(request.map(|body| Metered::new(body, buffers)));
        async move { Ok(answer.await?.map(|body| Held { body, _place: Some(place) })) }.boxed()
    }
}

fn turned_away<In>(request: &Request<In>) -> Status {
    static SAID: Seldom = Seldom::new();
    if let Some(others) = SAID.turn() {
        tracing::warn!(method = request.uri().path(), others, "a call was turned away: too many are under way");
    }
    let mut status = status(&Error::new(Reason::Overloaded, "too many calls are under way"));
    if let Ok(id) = call_id(request.headers().get(CALL_ID_HEADER)).parse() {
        status.metadata_mut().insert(CALL_ID_HEADER, id);
    }
    status
}

/// How many calls the connection has.
fn tally(extensions: &Extensions) -> Arc<AtomicUsize> {
    extensions.get::<Connection>().map(Connection::tally).unwrap_or_default()
}

/// Places for calls of one kind.
#[derive(Debug)]
struct Places {
    all: usize,
    taken: AtomicUsize,
}

/// A place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    /// How many the connection has.
    tally: Arc<AtomicUsize>,
}

impl Places {
    fn new(all: usize) -> Arc<Self> {
        Arc::new(Places { all, taken: AtomicUsize::new(0) })
    }

    /// For a connection that has as many places as `tally` says; `None` where it may have no more.
    fn take(self: &Arc<Self>, tally: Arc<AtomicUsize>) -> Option<Place> {
        let others = tally.fetch_add(1, Ordering::Relaxed);
        let fits = |taken: usize| {
            let free = self.all.saturating_sub(taken);
            (free > 0 && others <= free / SHARE).then_some(taken + 1)
        };
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            tally.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place { of: self.clone(), tally })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(1, Ordering::Relaxed);
        self.tally.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer with the place of its call.
pub struct Held<B> {
    body: B,
    _place: Option<Place>,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of `connections` takes what it may; how many places are left, and how many each has.
    fn filled(all: usize, connections: usize) -> (usize, Vec<usize>) {
        let places = Places::new(all);
        let tallies: Vec<Arc<AtomicUsize>> = (0..connections).map(|_| Arc::default()).collect();
        let mut taken = Vec::new();
        loop {
            let before = taken.len();
            taken.extend(tallies.iter().filter_map(|tally| places.take(tally.clone())));
            if before == taken.len() {
                let each = tallies.iter().map(|tally| tally.load(Ordering::Relaxed)).collect();
                return (all - before, each);
            }
        }
    }

    #[test]
    fn whoever_takes_all_they_may_leaves_room_for_others() {
        assert_eq!(filled(8_192, 1), (6_553, vec![1_639]));
        for connections in [2, 10, 100, 1_000, 4_096] {
            let (left, each) = filled(8_192, connections);
            assert!(left > 0, "{connections} leave nothing");
            let (least, most) = (each.iter().min().expect("some"), each.iter().max().expect("some"));
            assert!(most - least <= 1, "{connections} get from {least} to {most}");
        }
    }

    #[test]
    fn there_are_never_more_calls_than_places_and_a_place_is_free_again() {
        let (places, busy) = (Places::new(16), Arc::<AtomicUsize>::default());
        let mut taken: Vec<_> = (0..15).map(|_| places.take(Arc::default()).expect("a place")).collect();
        taken.push(places.take(busy.clone()).expect("a place"));
        assert!(places.take(Arc::default()).is_none());
        taken.remove(0);
        assert!(places.take(busy.clone()).is_none(), "one free place is for a connection without a call");
        assert_eq!(busy.load(Ordering::Relaxed), 1);
        assert!(places.take(Arc::default()).is_some());
    }
}
