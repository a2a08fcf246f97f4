//! Cognito, the vault and the registry of one client, and rotators that work on them and may stop anywhere.

use super::*;

pub const OVERLAP: Duration = Duration::from_secs(600);
/// Of an app client without a secret.
const NO_VALUE: u64 = u64::MAX;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

pub fn app_client(number: u32) -> AppClient {
    AppClient {
        pool: PoolId::parse("pool", "shared-1").expect("valid"),
        id: AppClientId::parse("app_client", &format!("client{number}")).expect("valid"),
    }
}

pub fn secret_id(of: &AppClientId, epoch: i64) -> SecretId {
    SecretId::parse("secret", &format!("{of}--{epoch}")).expect("valid")
}

pub fn version(name: &str) -> VersionId {
    VersionId::parse("version", name).expect("valid")
}

pub struct World {
    pub now: i64,
    /// Cognito: each app client's marker, and its secrets with their values.
    pub app_clients: BTreeMap<AppClientId, Registered>,
    pub versions: BTreeMap<VersionId, Content>,
    pub labels: Labels,
    pub credential: Credential,
    pub credential_version: u64,
    /// Places kept in the pool.
    pub places: i64,
    next_value: u64,
    next_app_client: u32,
    pub started: u32,
    pub finished: Vec<RotationId>,
    pub abandoned: u32,
    pub superseded: u32,
    /// Whether a newly registered secret works yet.
    pub propagated: bool,
    /// Whether the backend has second secrets.
    pub second_secrets: bool,
    /// Whether app clients can be created.
    pub refuses: bool,
    /// Whether the backend chooses the secrets of app clients itself.
    pub assigns: bool,
}

pub struct Registered {
    marker: String,
    pub secrets: Vec<(SecretId, u64)>,
}

#[derive(Clone)]
pub struct Content {
    app_client: Option<AppClientId>,
    value: u64,
}

impl World {
    /// With a rotation begun, which replaces the app client or adds a secret.
    pub fn new(replace: bool) -> Self {
        let (first, own) = (version("v0"), app_client(0));
        let secret = secret_id(&own.id, 1000);
        let current = HeldSecret { app_client: Some(own.clone()), secret: secret.clone(), version: first.clone() };
        let name = ClientName::parse("name", "tenants/acme/clients/orders").expect("valid");
        let mut credential = Credential::new(name, current);
        credential.candidate = Some(candidate(1, OVERLAP, replace));
        let registered = Registered { marker: "first".to_owned(), secrets: vec![(secret, 0)] };
        World {
            now: 1000,
            app_clients: BTreeMap::from([(own.id.clone(), registered)]),
            versions: BTreeMap::from([(first.clone(), Content { app_client: Some(own.id), value: 0 })]),
            labels: Labels { current: Some(first), pending: None, previous: None },
            credential,
            credential_version: 1,
            places: 1,
            next_value: 1,
            next_app_client: 1,
            started: 1,
            finished: Vec::new(),
            abandoned: 0,
            superseded: 0,
            propagated: true,
            second_secrets: true,
            refuses: false,
            assigns: false,
        }
    }

    pub fn observe(&self) -> Observed {
        let current = self.credential.current.app_client.as_ref().expect("known");
        Observed { secrets: self.listed(&current.id), labels: self.labels.clone() }
    }

    /// As the backend lists them: an app client without second secrets has one whose id is not told.
    fn listed(&self, app_client: &AppClientId) -> Vec<SecretId> {
        match self.app_clients.get(app_client) {
            None => Vec::new(),
            Some(_) if !self.second_secrets => vec![SecretId::unlisted(app_client).expect("valid")],
            Some(registered) => registered.secrets.iter().map(|(id, _)| id.clone()).collect(),
        }
    }

    /// The credential as a rotator reads it.
    fn read(&self) -> Credential {
        let mut credential = self.credential.clone();
        credential.recognise(&self.observe().secrets);
        credential
    }

    /// The operations for second secrets come and go, but go only while nobody has two.
    pub fn set_second_secrets(&mut self, yes: bool) {
        self.second_secrets = yes || self.app_clients.values().any(|registered| registered.secrets.len() > 1);
    }

    pub fn plan(&self) -> Vec<Step> {
        plan(at(self.now), &self.read(), &self.observe())
    }

    fn authenticates(&self, version: &VersionId) -> bool {
        let content = self.versions.get(version).expect("a version has content");
        let registered = content.app_client.as_ref().and_then(|id| self.app_clients.get(id));
        registered.is_some_and(|registered| registered.secrets.iter().any(|(_, value)| *value == content.value))
    }

    fn check_invariants(&self) {
        let current = self.labels.current.as_ref().expect("a secret always has a current version");
        assert!(self.authenticates(current), "AWSCURRENT does not authenticate: {current}");
        for (id, registered) in &self.app_clients {
            assert!(registered.secrets.len() <= MAX_SECRETS, "more than two secrets of {id}");
        }
        let is_given_up = |id: &AppClientId, marker: &str| {
            self.credential.condemned_app_clients.iter().any(|condemned| condemned.id == *id)
                || self.credential.lost.iter().any(|lost| lost.marker == marker)
        };
        let kept = self.app_clients.iter().filter(|(id, registered)| !is_given_up(id, &registered.marker));
        assert!(kept.count() <= 2, "more than two app clients beside those that are given up");
    }

    /// Cognito gives ids by the second: one that was deleted may come back.
    pub fn add_secret(&mut self, app_client: &AppClientId, value: u64) -> Option<SecretId> {
        let secrets = &mut self.app_clients.get_mut(app_client)?.secrets;
        if secrets.len() == MAX_SECRETS {
            return None;
        }
        let taken = |epoch: &i64| secrets.iter().any(|(id, _)| *id == secret_id(app_client, *epoch));
        let epoch = (self.now..).find(|epoch| !taken(epoch)).expect("endless");
        secrets.push((secret_id(app_client, epoch), value));
        Some(secret_id(app_client, epoch))
    }

    fn create(&mut self, marker: &str, value: u64) -> AppClientId {
        let id = app_client(self.next_app_client).id;
        self.next_app_client += 1;
        let secret = secret_id(&id, self.now);
        let registered = Registered { marker: marker.to_owned(), secrets: vec![(secret, value)] };
        let taken = self.app_clients.values().any(|other| other.marker == marker);
        assert!(!taken, "two app clients of the name {marker}");
        self.app_clients.insert(id.clone(), registered);
        id
    }

    fn find(&self, marker: &str) -> Option<AppClientId> {
        let mut found = self.app_clients.iter().filter(|(_, registered)| registered.marker == marker);
        found.next().map(|(id, _)| id.clone())
    }

    /// One commit: a compare-and-swap on the credential, the places in the pool with it.
    fn commit(&mut self, seen_version: u64, credential: Credential, places: i64) -> bool {
        if seen_version != self.credential_version {
            return false;
        }
        if let (Some(previous), None) = (&self.credential.previous, &credential.previous) {
            self.finished.push(previous.rotation.clone());
        }
        let (before, after) = (self.credential.candidate.is_some(), credential.candidate.is_some());
        // The secret's id may be another although it is the same secret: once it was not listed, and now it is.
        if before && !after && credential.current.version == self.credential.current.version {
            self.abandoned += 1;
        }
        self.credential = credential;
        self.credential_version += 1;
        self.places += places;
        true
    }
}

pub fn candidate(number: u32, overlap: Duration, replace: bool) -> Candidate {
    Candidate {
        rotation: RotationId::parse("rotation", &format!("r-{number}")).expect("valid"),
        version: version(&format!("v{number}")),
        secret: None,
        proved: false,
        overlap,
        give_up_time: None,
        replacement: replace.then(|| Replacement::new(version(&format!("draft{number}")), false)),
    }
}

/// A rotator that may stop anywhere. What it knows may be out of date.
#[derive(Clone, Default)]
pub enum Rotator {
    #[default]
    Idle,
    Planned {
        seen: Credential,
        seen_version: u64,
        step: Step,
    },
    /// It has written down that it creates an app client, and is about to.
    Creating {
        seen: Credential,
        seen_version: u64,
        attempt: Attempt,
    },
    /// It has made an app client that did not take the drafted secret, and is about to make another in its place.
    Deciding {
        seen: Credential,
        seen_version: u64,
        attempt: Attempt,
        untold: AppClientId,
    },
    /// It was told the secret that the backend chose for a new app client, and is about to write that to the vault.
    Keeping {
        seen: Credential,
        seen_version: u64,
        id: AppClientId,
        secret: SecretId,
        value: u64,
    },
    /// It is about to start a rotation.
    Starting {
        seen: Credential,
        seen_version: u64,
        labels: Labels,
        how: Started,
    },
    /// The effect has happened; this is what it would write down, if anything.
    Done {
        seen_version: u64,
        write: Option<Credential>,
        places: i64,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub compromise: bool,
    pub replace: bool,
}

impl Rotator {
    pub fn starting(world: &World, how: Started) -> Self {
        let (seen, seen_version) = (world.read(), world.credential_version);
        Rotator::Starting { seen, seen_version, labels: world.labels.clone(), how }
    }

    /// The next thing that this rotator does. Returns whether there was anything to do.
    pub fn go(&mut self, world: &mut World) -> bool {
        match std::mem::take(self) {
            Rotator::Idle => match world.plan().into_iter().next() {
                None | Some(Step::Wait(_)) => return false,
                Some(step) => {
                    let (seen, seen_version) = (world.read(), world.credential_version);
                    *self = Rotator::Planned { seen, seen_version, step };
                }
            },
            Rotator::Planned { seen, seen_version, step } => *self = effect(world, seen, seen_version, &step),
            Rotator::Creating { seen, seen_version, attempt } => {
                *self = create(world, seen, seen_version, &attempt);
            }
            Rotator::Deciding { seen, seen_version, attempt, untold } => {
                world.app_clients.remove(&untold);
                // A call has an end long before this.
                if at(world.now) < attempt.settled_time() {
                    let value = world.next_value;
                    world.next_value += 1;
                    let id = world.create(&attempt.marker, value);
                    let secret = world.listed(&id)[0].clone();
                    *self = Rotator::Keeping { seen, seen_version, id, secret, value };
                }
            }
            Rotator::Keeping { mut seen, seen_version, id, secret, value } => {
                let assigned = assigned_version(&seen, &id);
                let content = Content { app_client: Some(id.clone()), value };
                world.versions.entry(assigned.clone()).or_insert(content);
                world.labels.pending = Some(assigned.clone());
                seen.registered(id, secret, Some(assigned)).expect("begun");
                *self = Rotator::Done { seen_version, write: Some(seen), places: 0 };
            }
            Rotator::Starting { seen, seen_version, labels, how } => {
                let mut next = seen.clone();
                let overlap = if how.compromise { Duration::ZERO } else { OVERLAP };
                let candidate = candidate(world.started + 1, overlap, how.replace);
                match next.start(candidate, how.compromise, at(world.now), &labels) {
                    Start::PromoteFirst { from, to } => {
                        *self = effect(world, seen, seen_version, &Step::Promote { from, to });
                    }
                    Start::Begun { superseded } => {
                        if world.commit(seen_version, next, 0) {
                            world.started += 1;
                            world.superseded += u32::from(superseded.is_some());
                        }
                    }
                    Start::Running(_) => assert!(!how.compromise, "a compromise waits for nothing"),
                }
            }
            Rotator::Done { seen_version, write, places } => {
                if let Some(credential) = write {
                    world.commit(seen_version, credential, places);
                }
            }
        }
        world.check_invariants();
        true
    }
}

/// What a step does to Cognito and the vault, and what the rotator does next.
fn effect(world: &mut World, seen: Credential, seen_version: u64, step: &Step) -> Rotator {
    if let (Step::Register(_), Some(candidate)) = (step, &seen.candidate)
        && let Some(replacement) = &candidate.replacement
    {
        return begin_creating(world, seen.clone(), seen_version, candidate, replacement);
    }
    let mut places = 0;
    let write = change(world, seen, step, &mut places);
    Rotator::Done { seen_version, write, places }
}

fn begin_creating(
    world: &mut World,
    mut next: Credential,
    seen_version: u64,
    candidate: &Candidate,
    replacement: &Replacement,
) -> Rotator {
    let before = replacement.attempt.as_ref();
    if let Some(found) = before.and_then(|before| world.find(&before.marker)) {
        let value = world.app_clients[&found].secrets[0].1;
        let secret = world.listed(&found)[0].clone();
        let assigned = assigned_version(&next, &found);
        if world.versions.contains_key(&assigned) {
            next.registered(found, secret, Some(assigned)).expect("begun");
        } else if world.versions[&replacement.draft].value == value {
            next.registered(found, secret, None).expect("begun");
        } else {
            next.condemn_created(found);
        }
        return Rotator::Done { seen_version, write: Some(next), places: 0 };
    }
    let marker = format!("{}.{}", candidate.rotation, replacement.attempts + 1);
    let attempt = Attempt { marker, pool: app_client(0).pool, time: at(world.now), placed: true };
    next.attempt(attempt.clone());
    match world.commit(seen_version, next.clone(), i64::from(before.is_none())) {
        true => Rotator::Creating { seen: next, seen_version: seen_version + 1, attempt },
        false => Rotator::Idle,
    }
}

fn create(world: &mut World, mut next: Credential, seen_version: u64, attempt: &Attempt) -> Rotator {
    // A call has an end long before this.
    if at(world.now) >= attempt.settled_time() {
        return Rotator::Idle;
    }
    if world.refuses {
        next.refused();
        return Rotator::Done { seen_version, write: Some(next), places: -1 };
    }
    let replacement = next.candidate.as_ref().and_then(|candidate| candidate.replacement.as_ref()).expect("replacing");
    let drafted = world.versions[&replacement.draft].value;
    if world.assigns {
        let untold = world.create(&attempt.marker, NO_VALUE);
        return Rotator::Deciding { seen: next, seen_version, attempt: attempt.clone(), untold };
    }
    let id = world.create(&attempt.marker, drafted);
    let secret = world.listed(&id)[0].clone();
    next.registered(id, secret, None).expect("begun");
    Rotator::Done { seen_version, write: Some(next), places: 0 }
}

/// Which version holds the secret that the backend chose for an app client of the candidate.
fn assigned_version(credential: &Credential, id: &AppClientId) -> VersionId {
    let candidate = credential.candidate.as_ref().expect("a candidate");
    version(&format!("{}-whole-{id}", candidate.rotation))
}

/// Every other step: its effect, and the record it would write.
fn change(world: &mut World, mut next: Credential, step: &Step, places: &mut i64) -> Option<Credential> {
    let now = at(world.now);
    let current = next.current.app_client.clone().expect("known").id;
    match step {
        Step::Condemn(secret) => next.condemn(secret, now),
        Step::Remove(secret) => {
            assert!(next.condemned.contains_key(secret), "removing what was not condemned");
            if let Some(registered) = world.app_clients.get_mut(&current).filter(|it| it.secrets.len() > 1) {
                registered.secrets.retain(|(id, _)| id != secret);
            }
            return None;
        }
        Step::Stage(version) => {
            let is_draft = next.candidate.as_ref().is_some_and(|candidate| candidate.replacement.is_some());
            let content = Content { app_client: (!is_draft).then_some(current), value: world.next_value };
            world.next_value += 1;
            world.versions.entry(version.clone()).or_insert(content);
            world.labels.pending = Some(version.clone());
        }
        Step::Complete(version) => {
            let candidate = next.candidate.as_ref()?;
            let value = world.versions[&candidate.replacement.as_ref()?.draft].value;
            let content = Content { app_client: Some(candidate.new_app_client()?.id.clone()), value };
            world.versions.entry(version.clone()).or_insert(content);
            world.labels.pending = Some(version.clone());
            return None;
        }
        Step::Register(_) if !world.second_secrets => {
            let candidate = next.candidate.as_mut()?;
            candidate.replace_instead(version(&format!("{} whole", candidate.rotation).replace(' ', "-")));
        }
        Step::Register(version) => {
            let secret = world.add_secret(&current, world.versions[version].value)?;
            if next.condemned.contains_key(&secret) || next.keeps(&secret) {
                return None;
            }
            let candidate = next.candidate.as_mut()?;
            candidate.secret = Some(secret);
            candidate.proved = false;
        }
        Step::Prove(version) => {
            let works = world.propagated && world.authenticates(version);
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
            next.promote(now)?;
        }
        Step::RemoveAppClient(app_client) => {
            let condemned = next.condemned_app_clients.contains(app_client);
            assert!(condemned || next.replaced() == Some(app_client), "removing an app client that is in use");
            world.app_clients.remove(&app_client.id);
            next.removed(app_client);
            *places = -1;
        }
        Step::Search(lost) => {
            let found = world.find(&lost.marker);
            *places = i64::from(found.is_some()) - i64::from(lost.placed);
            next.searched(lost, found);
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
            next.give_up();
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
pub fn run_to_the_end(world: &mut World) {
    world.propagated = true;
    world.refuses = false;
    let mut rotator = Rotator::default();
    for _ in 0..1000 {
        if !rotator.go(world) {
            match world.plan().first() {
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

pub fn check_the_end(world: &World) {
    let credential = world.read();
    let current = &credential.current;
    let ids: Vec<_> = world.app_clients.keys().collect();
    assert_eq!(ids, current.app_client.iter().map(|own| &own.id).collect::<Vec<_>>(), "an app client was left behind");
    let secrets: Vec<_> = world.app_clients.values().flat_map(|it| it.secrets.iter().map(|(id, _)| id)).collect();
    assert_eq!(secrets.len(), 1, "a secret was left behind");
    assert!(current.secret.is_unlisted() || secrets == [&current.secret], "{secrets:?} is not {current:?}");
    assert_eq!(world.places, 1, "a place was lost or left behind");
    assert_eq!(world.labels.current.as_ref(), Some(&current.version));
    assert_eq!((&world.labels.pending, &world.labels.previous), (&None, &None), "a label was left behind");
    assert!(world.credential.candidate.is_none() && world.credential.previous.is_none());
    assert!(world.credential.condemned_app_clients.is_empty() && world.credential.lost.is_empty());
    let ended = world.finished.len() as u32 + world.abandoned + world.superseded;
    assert_eq!(ended, world.started, "each rotation ends once");
    let later = at(world.now + 1_000_000);
    assert_eq!(plan(later, &credential, &world.observe()), vec![], "planning again finds something to do");
}
