//! Windows of time in which hits are timed, quiet ones in turn with others in which something goes on.
//!
//! Whoever causes the work, and what the embedded backend does in Cognito's place, take part of the same processors. So hits
//! are timed at a bystander too, another daemon that does nothing else, while the first one works: what its hits
//! take more than in quiet windows is the machine's share, and what the working daemon's take more than that is its own.

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

/// Does all of the work in windows, each after a quiet one, and compares what hits took: at the daemon that does the work, and
/// in turn with that at the bystander.
pub async fn compare<F>(server: &Server, pace: &Pace, bystander: &Pace, work: Work<'_, F>) -> Vec<Figure>
where
    F: AsyncFn(usize),
{
    let (mut quiet, mut busy, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let done = AtomicUsize::new(0);
    let mut seconds = 0.0;
    for window in 0.. {
        if done.load(Ordering::Relaxed) >= work.pieces {
            break;
        }
        until_idle(server).await;
        quiet.extend(steady::ask(pace).await);
        let (asked, took) = if window % 2 == 0 { (pace, &mut busy) } else { (bystander, &mut beside) };
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
            took.extend(steady::ask(asked).await);
            is_over.store(true, Ordering::Relaxed);
        };
        tokio::join!(window, futures::future::join_all((0..AT_ONCE).map(|_| one_after_the_other())));
        seconds += pace.seconds;
    }
    let rate = work.pieces as f64 / seconds;
    println!("\n{}: {} in about {seconds:.0} s, {rate:.0} a second", work.name, work.pieces);
    for (name, took) in [("quiet", &mut quiet), ("meanwhile", &mut busy), ("bystander", &mut beside)] {
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
    let [quiet, busy, beside] = [quiet, busy, beside].map(|took| quantile(&took, 0.99));
    let name = work.name;
    vec![
        Figure::new(format!("p99 of hits while {name} go on ÷ quiet p99"), busy / quiet, "").at_most(1.2),
        Figure::new(format!("the same at a bystander, while {name} go on"), beside / quiet, ""),
        Figure::new(format!("p99 of hits while {name} go on ÷ the bystander's"), busy / beside, ""),
    ]
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
