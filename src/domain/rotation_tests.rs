//! The plan against a world that does its worst: crashes before and after every effect and every write, two rotators
//! at once, secret ids that come back within their second, proofs that fail for a while.

use proptest::prelude::*;

use super::*;

const OVERLAP: Duration = Duration::from_secs(600);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn secret_id(epoch: i64) -> SecretId {
    SecretId::parse("secret", &format!("client--{epoch}")).expect("valid")
}

fn version(name: &str) -> VersionId {
    VersionId::parse("version", name).expect("valid")
}

/// Cognito, the vault and the registry of one client.
struct World {
    now: i64,
    /// Cognito: ids and values, two at the most.
    registered: Vec<(SecretId, u64)>,
    versions: BTreeMap<VersionId, u64>,
    labels: Labels,
    credential: Credential,
    credential_version: u64,
    next_value: u64,
    started: u32,
    finished: Vec<RotationId>,
    abandoned: u32,
    superseded: u32,
    /// Whether a newly registered secret works yet.
    propagated: bool,
}

impl World {
    fn new() -> Self {
        let first = version("v0");
        World {
            now: 1000,
            registered: vec![(secret_id(1000), 0)],
            versions: BTreeMap::from([(first.clone(), 0)]),
            labels: Labels { current: Some(first.clone()), pending: None, previous: None },
            credential: Credential {
                client: ClientName::parse("name", "tenants/acme/clients/orders").expect("valid"),
                current: HeldSecret { secret: secret_id(1000), version: first },
                candidate: Some(candidate(1, OVERLAP)),
                previous: None,
                condemned: BTreeMap::new(),
            },
            credential_version: 1,
            next_value: 1,
            started: 1,
            finished: Vec::new(),
            abandoned: 0,
            superseded: 0,
            propagated: true,
        }
    }

    fn observe(&self) -> Observed {
        Observed { secrets: self.registered.iter().map(|(id, _)| id.clone()).collect(), labels: self.labels.clone() }
    }

    fn check_invariants(&self) {
        let current = self.labels.current.as_ref().expect("a secret always has a current version");
        let value = self.versions.get(current).expect("a current version has content");
        assert!(
            self.registered.iter().any(|(_, registered)| registered == value),
            "AWSCURRENT does not authenticate: {current} among {:?}",
            self.registered
        );
        assert!(self.registered.len() <= MAX_SECRETS, "more than two secrets");
    }

    /// Cognito gives ids by the second: one that was deleted may come back.
    fn add_secret(&mut self, value: u64) -> Option<SecretId> {
        if self.registered.len() == MAX_SECRETS {
            return None;
        }
        let taken = |epoch: &i64| self.registered.iter().any(|(id, _)| *id == secret_id(*epoch));
        let epoch = (self.now..).find(|epoch| !taken(epoch)).expect("endless");
        self.registered.push((secret_id(epoch), value));
        Some(secret_id(epoch))
    }
}

fn candidate(number: u32, overlap: Duration) -> Candidate {
    Candidate {
        rotation: RotationId::parse("rotation", &format!("r-{number}")).expect("valid"),
        version: version(&format!("v{number}")),
        secret: None,
        proved: false,
        overlap,
        give_up_time: None,
    }
}

/// A rotator that may stop anywhere. What it knows may be out of date.
#[derive(Clone, Default)]
enum Rotator {
    #[default]
    Idle,
    Planned {
        seen: Credential,
        seen_version: u64,
        step: Step,
    },
    /// It is about to start an immediate rotation.
    Starting {
        seen: Credential,
        seen_version: u64,
        labels: Labels,
    },
    /// The effect has happened; this is what it would write down, if anything.
    Done {
        seen_version: u64,
        write: Option<Credential>,
    },
}

impl Rotator {
    fn starting(world: &World) -> Self {
        let (seen, seen_version) = (world.credential.clone(), world.credential_version);
        Rotator::Starting { seen, seen_version, labels: world.labels.clone() }
    }

    /// The next thing that this rotator does. Returns whether there was anything to do.
    fn go(&mut self, world: &mut World) -> bool {
        match std::mem::take(self) {
            Rotator::Idle => {
                let plan = plan(at(world.now), &world.credential, &world.observe());
                match plan.into_iter().next() {
                    None | Some(Step::Wait(_)) => return false,
                    Some(step) => {
                        let (seen, seen_version) = (world.credential.clone(), world.credential_version);
                        *self = Rotator::Planned { seen, seen_version, step };
                    }
                }
            }
            Rotator::Planned { seen, seen_version, step } => {
                let write = effect(world, seen, &step);
                *self = Rotator::Done { seen_version, write };
            }
            Rotator::Starting { seen, seen_version, labels } => {
                let mut next = seen.clone();
                let candidate = candidate(world.started + 1, Duration::ZERO);
                match next.start(candidate, true, at(world.now), &labels) {
                    Start::PromoteFirst { from, to } => {
                        let write = effect(world, seen, &Step::Promote { from, to });
                        *self = Rotator::Done { seen_version, write };
                    }
                    Start::Begun { superseded } if seen_version == world.credential_version => {
                        world.started += 1;
                        world.superseded += u32::from(superseded.is_some());
                        world.credential = next;
                        world.credential_version += 1;
                    }
                    Start::Begun { .. } => {}
                    Start::Running(_) => panic!("a compromise waits for nothing"),
                }
            }
            Rotator::Done { seen_version, write } => {
                if let Some(credential) = write
                    && seen_version == world.credential_version
                {
                    if let (Some(previous), None) = (&world.credential.previous, &credential.previous) {
                        world.finished.push(previous.rotation.clone());
                    }
                    if world.credential.candidate.is_some()
                        && credential.candidate.is_none()
                        && credential.current == world.credential.current
                    {
                        world.abandoned += 1;
                    }
                    world.credential = credential;
                    world.credential_version += 1;
                }
            }
        }
        world.check_invariants();
        true
    }
}

/// What a step does to Cognito and the vault, and the record it would write.
fn effect(world: &mut World, seen: Credential, step: &Step) -> Option<Credential> {
    let mut next = seen;
    let now = at(world.now);
    match step {
        Step::Condemn(secret) => {
            next.condemned.insert(secret.clone(), now);
            if let Some(candidate) = next.candidate.as_mut().filter(|it| it.secret.as_ref() == Some(secret)) {
                candidate.secret = None;
                candidate.proved = false;
            }
        }
        Step::Remove(secret) => {
            assert!(next.condemned.contains_key(secret), "removing what was not condemned");
            if world.registered.len() > 1 {
                world.registered.retain(|(id, _)| id != secret);
            }
            return None;
        }
        Step::Stage(version) => {
            let value = world.next_value;
            world.next_value += 1;
            world.versions.entry(version.clone()).or_insert(value);
            world.labels.pending = Some(version.clone());
        }
        Step::Register(version) => {
            let secret = world.add_secret(world.versions[version])?;
            if next.condemned.contains_key(&secret) || next.keeps(&secret) {
                return None;
            }
            let candidate = next.candidate.as_mut()?;
            candidate.secret = Some(secret);
            candidate.proved = false;
        }
        Step::Prove(version) => {
            let value = world.versions[version];
            let works = world.propagated && world.registered.iter().any(|(_, registered)| *registered == value);
            let candidate = next.candidate.as_mut()?;
            if works {
                candidate.proved = true;
            } else if candidate.give_up_time.is_none() {
                candidate.give_up_time = Some(now + Duration::from_secs(60));
            } else {
                return None;
            }
        }
        Step::Promote { from, to } => {
            assert!(next.candidate.as_ref().is_some_and(|candidate| candidate.proved), "promoting unproved");
            if world.labels.current.as_ref() == Some(from) {
                world.labels.current = Some(to.clone());
                world.labels.previous = Some(from.clone());
            } else if world.labels.current.as_ref() != Some(to) {
                return None;
            }
            let candidate = next.candidate.take()?;
            let promoted = HeldSecret { secret: candidate.secret?, version: candidate.version };
            let held = std::mem::replace(&mut next.current, promoted);
            let retire_time = now + candidate.overlap;
            next.previous = Some(PreviousSecret { rotation: candidate.rotation, held, retire_time });
        }
        Step::ClearPending(version) => {
            if world.labels.pending.as_ref() == Some(version) {
                world.labels.pending = None;
            }
            return None;
        }
        Step::ClearPrevious(version) => {
            if world.labels.previous.as_ref() == Some(version) {
                world.labels.previous = None;
            }
            return None;
        }
        Step::Abandon(_) => {
            next.candidate = None;
        }
        Step::Finish(_) => {
            next.previous = None;
            next.forget_condemned(now, &world.observe());
        }
        Step::Wait(_) => return None,
    }
    Some(next)
}

/// Runs one rotator until nothing is left, through the overlap.
fn run_to_the_end(world: &mut World) {
    world.propagated = true;
    let mut rotator = Rotator::default();
    for _ in 0..500 {
        if !rotator.go(world) {
            let left = plan(at(world.now), &world.credential, &world.observe());
            match left.first() {
                None => return,
                Some(Step::Wait(until)) => world.now = until.as_second(),
                Some(step) => panic!("stuck before {step:?}"),
            }
        }
        // Time passes, so that an id in its second does not come back for ever.
        world.now += 1;
    }
    panic!("never done: {:?} {:?}", world.credential, world.observe());
}

fn check_the_end(world: &World) {
    assert_eq!(world.registered.len(), 1, "a secret was left behind");
    assert_eq!(world.registered[0].0, world.credential.current.secret);
    assert_eq!(world.labels.current.as_ref(), Some(&world.credential.current.version));
    assert_eq!((&world.labels.pending, &world.labels.previous), (&None, &None), "a label was left behind");
    assert!(world.credential.candidate.is_none() && world.credential.previous.is_none());
    let ended = world.finished.len() as u32 + world.abandoned + world.superseded;
    assert_eq!(ended, world.started, "each rotation ends once");
    let later = at(world.now + 1_000_000);
    assert_eq!(plan(later, &world.credential, &world.observe()), vec![], "planning again finds something to do");
}

#[derive(Clone, Debug)]
enum Event {
    Go(usize),
    Crash(usize),
    Compromise(usize),
    TimePasses(i64),
    Propagates(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..2_usize).prop_map(Event::Go),
        2 => (0..2_usize).prop_map(Event::Crash),
        1 => (0..2_usize).prop_map(Event::Compromise),
        1 => (0..700_i64).prop_map(Event::TimePasses),
        1 => any::<bool>().prop_map(Event::Propagates),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn two_rotators_that_crash_and_are_superseded_anywhere_end_with_one_secret_that_authenticates(
        events in proptest::collection::vec(event(), 0..120)
    ) {
        let mut world = World::new();
        let mut rotators = [Rotator::default(), Rotator::default()];
        for event in events {
            match event {
                Event::Go(who) => { rotators[who].go(&mut world); }
                Event::Crash(who) => rotators[who] = Rotator::Idle,
                Event::Compromise(who) => rotators[who] = Rotator::starting(&world),
                Event::TimePasses(seconds) => world.now += seconds,
                Event::Propagates(yes) => world.propagated = yes,
            }
        }
        run_to_the_end(&mut world);
        // What was under way when it ended may still come, late.
        for rotator in &mut rotators {
            while !matches!(rotator, Rotator::Idle) {
                rotator.go(&mut world);
            }
        }
        run_to_the_end(&mut world);
        check_the_end(&world);
    }
}

#[test]
fn a_crash_before_and_after_every_half_step_changes_nothing_about_the_end() {
    let mut halves = 0;
    for stop_after in 0.. {
        let mut world = World::new();
        let mut rotator = Rotator::default();
        let mut done = 0;
        while done < stop_after && rotator.go(&mut world) {
            done += 1;
        }
        if done < stop_after {
            break;
        }
        halves += 1;
        run_to_the_end(&mut world);
        check_the_end(&world);
    }
    // Stage, register, prove and promote are three halves each; so is taking a label off.
    assert!(halves >= 15, "only {halves} points were tried");
}

#[test]
fn a_plan_says_everything_that_is_left_in_order() {
    let world = World::new();
    let steps = plan(at(2000), &world.credential, &world.observe());
    let (old, new) = (version("v0"), version("v1"));
    let rotation = RotationId::parse("rotation", "r-1").expect("valid");
    assert_eq!(
        steps,
        vec![
            Step::Stage(new.clone()),
            Step::Register(new.clone()),
            Step::Prove(new.clone()),
            Step::Promote { from: old.clone(), to: new.clone() },
            Step::ClearPending(new),
            Step::Wait(at(2600)),
            Step::Condemn(secret_id(1000)),
            Step::Remove(secret_id(1000)),
            Step::ClearPrevious(old),
            Step::Finish(rotation),
        ]
    );
}

#[test]
fn a_stray_is_condemned_before_it_is_removed_and_goes_first() {
    let mut world = World::new();
    world.registered.push((secret_id(1500), 99));
    let steps = plan(at(2000), &world.credential, &world.observe());
    assert_eq!(steps[..2], [Step::Condemn(secret_id(1500)), Step::Remove(secret_id(1500))]);
}

#[test]
fn a_secret_that_never_works_is_given_up_and_the_old_one_stays() {
    let mut world = World::new();
    world.propagated = false;
    let mut rotator = Rotator::default();
    for _ in 0..200 {
        rotator.go(&mut world);
        world.now += 1;
    }
    assert_eq!(world.abandoned, 1);
    assert_eq!(world.labels.current, Some(version("v0")));
    run_to_the_end(&mut world);
    check_the_end(&world);
}

#[test]
fn a_current_label_that_somebody_else_moved_is_left_where_it_is() {
    let mut world = World::new();
    world.labels.current = Some(version("foreign"));
    let steps = plan(at(2000), &world.credential, &world.observe());
    assert_eq!(steps, vec![Step::Abandon(Abandoned::CurrentMovedElsewhere)]);
}
