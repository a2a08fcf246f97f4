//! The plan against a world that does its worst: crashes before and after every effect and every write, two rotators
//! at once, secret ids that come back within their second, proofs that fail for a while, app clients that are created
//! late, and both methods of rotation after and instead of each other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::id::{ClientName, PoolId};

mod world;

use world::{Rotator, Started, World, app_client, at, check_the_end, run_to_the_end, secret_id, version};

#[derive(Clone, Debug)]
enum Event {
    Go(usize),
    Crash(usize),
    Start(usize, Started),
    TimePasses(i64),
    Propagates(bool),
    Refuses(bool),
    SecondSecrets(bool),
    Assigns(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let started = any::<(bool, bool)>().prop_map(|(compromise, replace)| Started { compromise, replace });
    prop_oneof![
        24 => (0..2_usize).prop_map(Event::Go),
        4 => (0..2_usize).prop_map(Event::Crash),
        2 => (0..2_usize, started).prop_map(|(who, how)| Event::Start(who, how)),
        2 => (0..700_i64).prop_map(Event::TimePasses),
        2 => any::<bool>().prop_map(Event::Propagates),
        1 => any::<bool>().prop_map(Event::Refuses),
        1 => any::<bool>().prop_map(Event::SecondSecrets),
        1 => any::<bool>().prop_map(Event::Assigns),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn two_rotators_that_crash_and_are_superseded_anywhere_end_with_one_secret_that_authenticates(
        (second_secrets, replace, assigns) in any::<(bool, bool, bool)>(),
        events in proptest::collection::vec(event(), 0..160),
    ) {
        let mut world = World::new(replace);
        world.second_secrets = second_secrets;
        world.assigns = assigns;
        let mut rotators = [Rotator::default(), Rotator::default()];
        for event in events {
            match event {
                Event::Go(who) => { rotators[who].go(&mut world); }
                Event::Crash(who) => rotators[who] = Rotator::Idle,
                Event::Start(who, how) => rotators[who] = Rotator::starting(&world, how),
                Event::TimePasses(seconds) => world.now += seconds,
                Event::Propagates(yes) => world.propagated = yes,
                Event::Refuses(yes) => world.refuses = yes,
                Event::SecondSecrets(yes) => world.set_second_secrets(yes),
                Event::Assigns(yes) => world.assigns = yes,
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
    // A second secret, a replacement, a replacement since there are no second secrets; and one by an app client whose
    // secret the backend chooses.
    let ways = [
        (false, true, false, 15),
        (true, true, false, 20),
        (false, false, false, 23),
        (false, false, true, 22),
        (true, false, true, 19),
    ];
    for (replace, second_secrets, assigns, least) in ways {
        let mut halves = 0;
        for stop_after in 0.. {
            let mut world = World::new(replace);
            world.second_secrets = second_secrets;
            world.assigns = assigns;
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
        // Stage, register, prove and promote are three halves each; so is taking a label off. A secret that the backend
        // chose is written whole, which is two halves more of the creation and saves the three of completing it.
        assert!(halves >= least, "only {halves} points were tried");
    }
}

#[test]
fn a_plan_says_everything_that_is_left_in_order() {
    let world = World::new(false);
    let steps = plan(at(2000), &world.credential, &world.observe());
    let (old, new) = (version("v0"), version("v1"));
    let (own, rotation) = (app_client(0).id, RotationId::parse("rotation", "r-1").expect("valid"));
    assert_eq!(
        steps,
        vec![
            Step::Stage(new.clone()),
            Step::Register(new.clone()),
            Step::Prove(new.clone()),
            Step::Promote { from: old.clone(), to: new.clone() },
            Step::ClearPending(new),
            Step::Wait(at(2600)),
            Step::Condemn(secret_id(&own, 1000)),
            Step::Remove(secret_id(&own, 1000)),
            Step::ClearPrevious(old),
            Step::Finish(rotation),
        ]
    );
}

#[test]
fn a_plan_of_a_replacement_says_everything_that_is_left_in_order() {
    let world = World::new(true);
    let steps = plan(at(2000), &world.credential, &world.observe());
    let (old, draft, new) = (version("v0"), version("draft1"), version("v1"));
    let rotation = RotationId::parse("rotation", "r-1").expect("valid");
    assert_eq!(
        steps,
        vec![
            Step::Stage(draft.clone()),
            Step::Register(draft),
            Step::Complete(new.clone()),
            Step::Prove(new.clone()),
            Step::Promote { from: old.clone(), to: new.clone() },
            Step::ClearPending(new),
            Step::Wait(at(2600)),
            Step::RemoveAppClient(app_client(0)),
            Step::ClearPrevious(old),
            Step::Finish(rotation),
        ]
    );
}

#[test]
fn a_stray_is_condemned_before_it_is_removed_and_goes_first() {
    let mut world = World::new(false);
    let own = app_client(0).id;
    world.now = 1500;
    let stray = world.add_secret(&own, 99).expect("there is room");
    let steps = plan(at(2000), &world.credential, &world.observe());
    assert_eq!(steps[..2], [Step::Condemn(stray.clone()), Step::Remove(stray)]);
}

#[test]
fn a_secret_that_never_works_is_given_up_and_the_old_one_stays() {
    for replace in [false, true] {
        let mut world = World::new(replace);
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
        assert_eq!(world.credential.current.app_client, Some(app_client(0)));
    }
}

#[test]
fn a_current_label_that_somebody_else_moved_is_left_where_it_is() {
    let mut world = World::new(false);
    world.labels.current = Some(version("foreign"));
    let steps = plan(at(2000), &world.credential, &world.observe());
    assert_eq!(steps, vec![Step::Abandon(Abandoned::CurrentMovedElsewhere)]);
}

#[test]
fn a_creation_that_is_given_up_is_looked_for_once_it_can_no_longer_happen() {
    let mut world = World::new(true);
    let mut rotator = Rotator::default();
    while !matches!(rotator, Rotator::Creating { .. }) {
        assert!(rotator.go(&mut world));
    }
    // Somebody else does not find it, goes on under another name, and finishes.
    let mut other = Rotator::default();
    for _ in 0..20 {
        other.go(&mut world);
    }
    assert_eq!(world.credential.current.version, version("v1"));
    assert_eq!(world.app_clients.len(), 2);
    // Then it happens after all, and its rotator stops without a word.
    rotator.go(&mut world);
    assert_eq!(world.app_clients.len(), 3);
    run_to_the_end(&mut world);
    check_the_end(&world);
    assert!(at(world.now) >= at(1000) + CONDEMNED_MEMORY, "it was looked for too early");
}

#[test]
fn a_secret_that_the_backend_chose_is_lost_with_its_rotator_and_the_app_client_goes() {
    let mut world = World::new(true);
    world.assigns = true;
    let mut rotator = Rotator::default();
    while !matches!(rotator, Rotator::Keeping { .. }) {
        assert!(rotator.go(&mut world));
    }
    assert_eq!(world.app_clients.len(), 2);
    let mut next = Rotator::default();
    while world.credential.condemned_app_clients.is_empty() {
        assert!(next.go(&mut world));
    }
    assert_eq!(world.plan().first(), Some(&Step::RemoveAppClient(app_client(2))));
    // It comes back to life, and cannot write down what is condemned.
    while !matches!(rotator, Rotator::Idle) {
        rotator.go(&mut world);
    }
    assert!(world.credential.condemned_app_clients.contains(&app_client(2)));
    run_to_the_end(&mut world);
    check_the_end(&world);
    assert_eq!(world.credential.current.app_client, Some(app_client(4)));
}

#[test]
fn an_app_client_that_is_made_in_place_of_one_that_somebody_else_has_condemned_is_found() {
    let mut world = World::new(true);
    world.assigns = true;
    let mut rotator = Rotator::default();
    while !matches!(rotator, Rotator::Deciding { .. }) {
        assert!(rotator.go(&mut world));
    }
    let mut next = Rotator::default();
    while world.app_clients.contains_key(&app_client(1).id) {
        assert!(next.go(&mut world));
    }
    // It goes on all the same, and stops before it has told anybody.
    assert!(rotator.go(&mut world));
    assert!(world.app_clients.contains_key(&app_client(2).id));
    run_to_the_end(&mut world);
    check_the_end(&world);
}

#[test]
fn a_secret_that_the_backend_chose_is_found_again_in_the_vault() {
    let mut world = World::new(true);
    world.assigns = true;
    let mut rotator = Rotator::default();
    while !matches!(rotator, Rotator::Keeping { .. }) {
        assert!(rotator.go(&mut world));
    }
    assert!(rotator.go(&mut world));
    // It has written the secret down and nothing else.
    run_to_the_end(&mut world);
    check_the_end(&world);
    assert_eq!(world.credential.current.app_client, Some(app_client(2)), "no other was needed");
}

#[test]
fn the_secret_of_a_new_app_client_is_kept_though_its_id_be_that_of_the_old_one() {
    // A backend without second secrets makes ids up, and may give all app clients the same.
    let mut world = World::new(true);
    let mut rotator = Rotator::default();
    while world.credential.previous.is_none() {
        assert!(rotator.go(&mut world));
    }
    let same = world.credential.current.secret.clone();
    world.credential.previous.as_mut().expect("promoted").held.secret = same;
    let steps = plan(at(world.now + 1000), &world.credential, &world.observe());
    assert_eq!(steps.first(), Some(&Step::RemoveAppClient(app_client(0))));
    assert!(!steps.iter().any(|step| matches!(step, Step::Condemn(_) | Step::Remove(_))), "{steps:?}");
}

#[test]
fn the_secret_that_is_served_is_known_again_under_the_id_that_the_backend_lists_for_it_now() {
    let mut world = World::new(false);
    let own = app_client(0).id;
    let listed = secret_id(&own, 1000);
    world.credential.current.secret = SecretId::unlisted(&own).expect("valid");
    world.now = 1500;
    let stray = world.add_secret(&own, 99).expect("there is room");
    let steps = world.plan();
    assert_eq!(steps[..2], [Step::Condemn(stray.clone()), Step::Remove(stray)], "{steps:?}");
    assert!(steps.contains(&Step::Remove(listed)), "it is retired in the end");
    run_to_the_end(&mut world);
    check_the_end(&world);
}

#[test]
fn a_record_from_before_app_clients_could_be_replaced_takes_the_clients() {
    let old = r#"{
        "client": {"tenant": "acme", "client": "orders"},
        "current": {"secret": "client0--1000", "version": "v1"},
        "candidate": null,
        "previous": {"rotation": "r-1", "held": {"secret": "client0--900", "version": "v0"},
                     "retire_time": "2026-01-01T00:00:00Z"},
        "condemned": {}
    }"#;
    let mut credential: Credential = serde_json::from_str(old).expect("it can be read");
    credential.complete(&app_client(0));
    assert_eq!(credential.current.app_client, Some(app_client(0)));
    assert_eq!(credential.replaced(), None, "its previous secret is of the same app client");
    assert_eq!(credential.app_clients().collect::<Vec<_>>(), [&app_client(0)]);
}
