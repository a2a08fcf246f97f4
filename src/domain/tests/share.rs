//! Shares against a world that does its worst: brokers that join, leave, crash and are cut off at any moment, writings that
//! come through late, answers that are lost, and clocks that jump about within their difference.

use proptest::prelude::*;

use super::*;

const TERMS: ShareTerms = ShareTerms {
    round: Duration::from_secs(2),
    membership: Duration::from_secs(20),
    clock_difference: Duration::from_secs(5),
};
/// Each clock is at most half of the difference away from the true time.
const MOST_OFF: i64 = 2_500;
const MOST_BROKERS: usize = 6;

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000_000 + millisecond).expect("in range")
}

fn broker(number: usize) -> BrokerId {
    BrokerId::parse("broker", &format!("{number:032x}")).expect("valid")
}

/// What a broker has under way.
enum Asked {
    Nothing,
    Write(Member),
    Written(Member),
    Read(Timestamp),
    /// What was in the table when the reading came there.
    Seen(Timestamp, Vec<Member>),
    Leave,
    Left,
}

struct Broker {
    membership: Membership,
    asked: Asked,
    /// What it adds to the true time, in milliseconds.
    off: i64,
}

#[derive(Default)]
struct World {
    time: i64,
    table: Vec<Member>,
    brokers: Vec<Broker>,
    /// Given up by whoever sent them; they may come through all the same.
    late: Vec<Member>,
    started: usize,
    /// The most brokers that used something at one time.
    most: usize,
}

impl World {
    fn join(&mut self, off: i64) {
        if self.brokers.len() < MOST_BROKERS {
            self.started += 1;
            // New ones come before and after the old ones in the order of ids.
            let id = broker(self.started.wrapping_mul(7) % 11 + 11 * self.started);
            self.brokers.push(Broker { membership: Membership::new(TERMS, id), asked: Asked::Nothing, off });
        }
    }

    /// The next thing happens to what the broker has under way.
    fn step(&mut self, which: usize) {
        let Some(broker) = self.brokers.get_mut(which) else { return };
        let now = at(self.time + broker.off);
        broker.asked = match std::mem::replace(&mut broker.asked, Asked::Nothing) {
            Asked::Nothing => broker.membership.record(now).map_or(Asked::Read(now), Asked::Write),
            Asked::Write(record) if store(&mut self.table, &record) => Asked::Written(record),
            // Refused.
            Asked::Write(_) => Asked::Nothing,
            Asked::Written(record) => {
                broker.membership.written(&record, now);
                Asked::Read(now)
            }
            Asked::Read(began) => Asked::Seen(began, self.table.clone()),
            Asked::Seen(began, seen) => {
                broker.membership.read(began, &seen);
                Asked::Nothing
            }
            Asked::Leave => {
                let me = broker.membership.me.clone();
                self.table.retain(|member| member.broker != me);
                Asked::Left
            }
            Asked::Left => {
                self.brokers.remove(which);
                return;
            }
        };
    }

    /// A whole round.
    fn round(&mut self, which: usize) {
        for _ in 0..5 {
            self.step(which);
        }
    }

    /// The broker hears nothing of what it asked, which may have come through, or come through later.
    fn lose(&mut self, which: usize) {
        let Some(broker) = self.brokers.get_mut(which) else { return };
        match std::mem::replace(&mut broker.asked, Asked::Nothing) {
            Asked::Write(record) => self.late.push(record),
            leaving @ (Asked::Leave | Asked::Left) => broker.asked = leaving,
            _ => {}
        }
    }

    fn crash(&mut self, which: usize) {
        if which < self.brokers.len() {
            self.lose(which);
            self.brokers.remove(which);
        }
    }

    fn leave(&mut self, which: usize) {
        self.lose(which);
        if let Some(broker) = self.brokers.get_mut(which) {
            broker.membership.leave();
            if !matches!(broker.asked, Asked::Left) {
                broker.asked = Asked::Leave;
            }
        }
    }

    fn comes_late(&mut self, which: usize) {
        if which < self.late.len() {
            let record = self.late.remove(which);
            store(&mut self.table, &record);
        }
    }

    /// The shares together are at most the whole, of each quota. Counted in calls in 5040 seconds.
    fn check(&mut self) {
        for quota in [1, 2, 5, 15, 150] {
            let rates = self.brokers.iter().filter_map(|broker| {
                broker.membership.share().rate(quota, at(self.time + broker.off)).map(|rate| (rate.calls, rate.seconds))
            });
            let rates: Vec<_> = rates.collect();
            self.most = self.most.max(rates.len());
            let sum: u32 = rates.iter().map(|(calls, seconds)| calls * 5040 / seconds).sum();
            assert!(sum <= quota * 5040, "{rates:?} of {quota}");
        }
    }
}

/// As the table does it. Returns whether it was not refused.
fn store(table: &mut Vec<Member>, record: &Member) -> bool {
    match table.iter_mut().find(|member| member.broker == record.broker) {
        Some(stored) if stored.expire_time >= record.expire_time => return false,
        Some(stored) => *stored = record.clone(),
        None => table.push(record.clone()),
    }
    true
}

#[derive(Clone, Debug)]
enum Event {
    Join(i64),
    Step(usize),
    Round(usize),
    /// Rounds of everybody, some seconds apart.
    AllGo(usize),
    Lose(usize),
    Crash(usize),
    Leave(usize),
    ComesLate(usize),
    TimePasses(i64),
    ClockJumps(usize, i64),
}

fn event() -> impl Strategy<Value = Event> {
    let which = || 0..MOST_BROKERS;
    prop_oneof![
        3 => (-MOST_OFF..=MOST_OFF).prop_map(Event::Join),
        24 => which().prop_map(Event::Step),
        12 => which().prop_map(Event::Round),
        6 => (1..8_usize).prop_map(Event::AllGo),
        2 => which().prop_map(Event::Lose),
        1 => which().prop_map(Event::Crash),
        1 => which().prop_map(Event::Leave),
        2 => (0..3_usize).prop_map(Event::ComesLate),
        12 => (0..6_000_i64).prop_map(Event::TimePasses),
        3 => (which(), -MOST_OFF..=MOST_OFF).prop_map(|(which, off)| Event::ClockJumps(which, off)),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Join(off) => world.join(off),
        Event::Step(which) => world.step(which),
        Event::Round(which) => world.round(which),
        Event::AllGo(rounds) => {
            for _ in 0..rounds {
                world.time += 2_000;
                world.check();
                for which in 0..world.brokers.len() {
                    world.round(which);
                    world.check();
                }
            }
        }
        Event::Lose(which) => world.lose(which),
        Event::Crash(which) => world.crash(which),
        Event::Leave(which) => world.leave(which),
        Event::ComesLate(which) => world.comes_late(which),
        Event::TimePasses(milliseconds) => world.time += milliseconds,
        Event::ClockJumps(which, off) => {
            if let Some(broker) = world.brokers.get_mut(which) {
                broker.off = off;
            }
        }
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn at_no_moment_do_the_shares_of_all_come_to_more_than_the_quota(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut world = World::default();
        for event in events {
            happen(&mut world, event);
        }
        // Whatever there was: when nothing happens any more, everybody has a share, and they come to the whole.
        for which in (0..world.brokers.len()).rev() {
            while world.brokers.get(which).is_some_and(|broker| matches!(broker.asked, Asked::Leave | Asked::Left)) {
                world.step(which);
            }
        }
        happen(&mut world, Event::AllGo(30));
        let count = world.brokers.len();
        let rates = world.brokers.iter().filter_map(|broker| {
            broker.membership.share().rate(150, at(world.time + broker.off))
        });
        prop_assert_eq!(rates.map(|rate| rate.calls).sum::<u32>(), if count == 0 { 0 } else { 150 });
        prop_assert!(world.most <= MOST_BROKERS);
    }
}

fn rates(world: &World, quota: u32) -> Vec<Option<(u32, u32)>> {
    let rate = |broker: &Broker| broker.membership.share().rate(quota, at(world.time + broker.off));
    world.brokers.iter().map(|broker| rate(broker).map(|rate| (rate.calls, rate.seconds))).collect()
}

#[test]
fn the_first_has_all_at_once_and_the_next_its_part_when_the_first_has_made_room() {
    let mut world = World::default();
    world.join(0);
    assert_eq!(rates(&world, 15), [None]);
    world.round(0);
    assert_eq!(rates(&world, 15), [Some((15, 1))]);
    world.join(0);
    let mut waited = 0;
    while rates(&world, 15)[1].is_none() {
        happen(&mut world, Event::AllGo(1));
        waited += 2;
    }
    assert_eq!(rates(&world, 15), [Some((8, 1)), Some((7, 1))]);
    assert!(waited <= 12, "{waited} s");
}

#[test]
fn a_share_ends_before_anybody_takes_it_and_what_a_crash_left_is_taken_in_half_a_minute() {
    let mut world = World::default();
    (0..2).for_each(|_| world.join(0));
    happen(&mut world, Event::AllGo(10));
    assert_eq!(rates(&world, 150), [Some((75, 1)), Some((75, 1))]);
    // The second is cut off.
    let (mut ended, mut taken) = (None, None);
    for second in 1..40 {
        world.time += 1_000;
        if second % 2 == 0 {
            world.round(0);
        }
        world.check();
        let rates = rates(&world, 150);
        ended = ended.or(rates[1].is_none().then_some(second));
        taken = taken.or((rates[0] == Some((150, 1))).then_some(second));
    }
    assert_eq!((ended, taken), (Some(15), Some(28)));
    // And comes back.
    happen(&mut world, Event::AllGo(8));
    assert_eq!(rates(&world, 150), [Some((75, 1)), Some((75, 1))]);
}

#[test]
fn who_cannot_read_does_not_stay_a_member() {
    let mut world = World::default();
    world.join(0);
    world.round(0);
    let written = |world: &World| world.table[0].expire_time;
    let first = written(&world);
    for _ in 0..20 {
        world.time += 2_000;
        while !matches!(world.brokers[0].asked, Asked::Read(_)) {
            world.step(0);
        }
        world.lose(0);
    }
    // It wrote once more, before it knew.
    assert_eq!(written(&world), later(first, TERMS.round));
    assert_eq!(rates(&world, 15), [None]);
    world.join(0);
    world.round(1);
    assert_eq!(rates(&world, 15), [None, Some((15, 1))]);
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_a_broker_from_writing() {
    let mut membership = Membership::new(TERMS, broker(1));
    let first = membership.record(at(0)).expect("it may write").expire_time;
    assert_eq!(first, at(20_000));
    let second = membership.record(at(-4_000)).expect("it may write").expire_time;
    assert!(second > first && second < at(20_001), "{second}");
}

#[test]
fn small_quotas_and_large_fleets_are_divided_too() {
    let end_time = at(1);
    for (quota, among) in [(15, 40), (5, 40), (5, 3), (150, 40), (150, 7), (1, 2), (15, 15)] {
        let shares = (0..among).map(|place| Share::Part { place, among, end_time });
        let rates: Vec<_> = shares.map(|share| share.rate(quota, at(0)).expect("a share")).collect();
        let sum: f64 = rates.iter().map(|rate| f64::from(rate.calls) / f64::from(rate.seconds)).sum();
        assert!((sum - f64::from(quota)).abs() < 1e-9, "{quota} among {among}: {sum}");
        assert!(rates.iter().all(|rate| rate.calls > 0 && (rate.seconds == 1 || among > quota)));
    }
    assert_eq!(Share::Whole.rate(15, at(0)), Some(Rate { calls: 15, seconds: 1 }));
    assert_eq!(Share::Part { place: 0, among: 1, end_time }.rate(15, end_time), None);
}
