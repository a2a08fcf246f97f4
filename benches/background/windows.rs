//! Windows of time in which hits are timed, quiet ones in turn with others in which something goes on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Figure;
use super::server::Server;
use super::steady::{self, Pace};

/// How many calls of the work are under way at one time.
const AT_ONCE: usize = 32;

/// Something to do so often, piece by piece.
pub struct Work<'a, F> {
    pub name: &'a str,
    pub pieces: usize,
    /// Does one of them.
    pub piece: F,
}

/// Does all of the work in windows, each after a quiet one, and compares what hits took.
pub async fn compare<F>(server: &Server, pace: &Pace, work: Work<'_, F>) -> Vec<Figure>
where
    F: AsyncFn(usize),
{
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let done = AtomicUsize::new(0);
    let mut seconds = 0.0;
    while done.load(Ordering::Relaxed) < work.pieces {
        until_idle(server).await;
        quiet.extend(steady::ask(pace).await);
        let is_over = AtomicBool::new(false);
        let one_after_the_other = async || {
            while !is_over.load(Ordering::Relaxed) {
                let number = done.fetch_add(1, Ordering::Relaxed);
                if number >= work.pieces {
                    return;
                }
                (work.piece)(number).await;
            }
        };
        let window = async {
            busy.extend(steady::ask(pace).await);
            is_over.store(true, Ordering::Relaxed);
        };
        tokio::join!(window, futures::future::join_all((0..AT_ONCE).map(|_| one_after_the_other())));
        seconds += pace.seconds;
    }
    let rate = work.pieces as f64 / seconds;
    println!("\n{}: {} in about {seconds:.0} s, {rate:.0} a second", work.name, work.pieces);
    for (name, took) in [("quiet", &mut quiet), ("meanwhile", &mut busy)] {
        took.sort_unstable();
        let at = |share| quantile(took, share);
        println!(
            "  {name:<10} {:>8} hits, µs: p50 {:>6.0}  p90 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0}  most {:>7.0}",
            took.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    let ratio = quantile(&busy, 0.99) / quantile(&quiet, 0.99);
    let what = format!("p99 of hits while {} go on ÷ quiet p99", work.name);
    vec![Figure::new(what, ratio, "").at_most(1.2)]
}

/// Of what is sorted.
fn quantile(took: &[u32], share: f64) -> f64 {
    f64::from(took[((took.len() - 1) as f64 * share).round() as usize])
}

/// Waits until the daemon has nothing left to do from the window before.
pub async fn until_idle(server: &Server) {
    const LOOK: Duration = Duration::from_millis(200);
    let mut looks = tokio::time::interval(LOOK);
    let mut before = Duration::MAX;
    loop {
        looks.tick().await;
        let cpu = server.cpu();
        if cpu.saturating_sub(before) < LOOK / 50 && before != Duration::MAX {
            return;
        }
        before = cpu;
    }
}
