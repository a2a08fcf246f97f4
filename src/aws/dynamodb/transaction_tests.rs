use super::*;
use crate::domain::audit::{Event, Outcome};
use crate::domain::form::Form;

fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("in range")
}

fn write(key: &str, expected: Option<u64>, action: Action) -> Write {
    Write { shelf: Shelf::Tenant, key: key.to_owned(), expected, action }
}

fn put_at(key: &str, expected: Option<u64>) -> Write {
    write(key, expected, Action::Put { body: b"{}".to_vec(), form: Form::FIRST, due_time: None })
}

fn check_at(key: &str, expected: Option<u64>) -> Write {
    write(key, expected, Action::Check)
}

fn set(writes: Vec<Write>, events: usize) -> ChangeSet {
    let event = Event {
        time: now(),
        principal: String::new(),
        method: String::new(),
        resource: String::new(),
        outcome: Outcome::Succeeded,
        reason: String::new(),
        detail: String::new(),
        request_id: String::new(),
        call_id: String::new(),
    };
    ChangeSet { writes, events: vec![event; events] }
}

fn many(prefix: &str, count: usize) -> Vec<Write> {
    (0..count).map(|number| put_at(&format!("{prefix}{number}"), None)).collect()
}

fn transaction(sets: &[ChangeSet], before: &TableHead) -> Transaction {
    let sets: Vec<_> = sets.iter().collect();
    Transaction::of("keyward", &sets, before, now(), "t").expect("written")
}

fn reasons(transaction: &Transaction, failed: &[(usize, &str)]) -> Verdict {
    let reason = |place: usize| {
        let code = failed.iter().find(|(at, _)| *at == place).map_or("None", |(_, code)| code);
        CancellationReason::builder().code(code).build()
    };
    transaction.judge(&(0..transaction.items.len()).map(reason).collect::<Vec<_>>())
}

#[test]
fn sets_join_while_they_fit_and_change_no_record_of_each_other() {
    let joined = |sets: &[ChangeSet]| joining(sets.iter());
    assert_eq!(joined(&[set(many("a", 90), 8), set(many("b", 1), 0)]), [0], "the first fills it");
    assert_eq!(joined(&[set(many("a", 50), 1), set(many("b", 48), 0), set(many("c", 47), 0)]), [0, 2]);
    assert_eq!(joined(&[set(many("a", 1), 1), set(many("a", 1), 1), set(many("b", 1), 1)]), [0, 2]);
    // Looking is shared, as long as all expect the same; changing what another looks at is not.
    let looking = |key: &str, version| set(vec![check_at("t", Some(version)), put_at(key, None)], 1);
    assert_eq!(
        joined(&[looking("a", 1), looking("b", 1), looking("c", 2), set(vec![put_at("t", Some(1))], 1)]),
        [0, 1]
    );
    assert_eq!(joined(&[set(vec![put_at("t", Some(1))], 1), looking("a", 2), looking("b", 1)]), [0]);
    let large = |key: &str| {
        let action = Action::Put { body: vec![b'x'; 370_000], form: Form::FIRST, due_time: None };
        set(vec![write(key, None, action)], 0)
    };
    let many_large: Vec<_> = (0..20).map(|number| large(&number.to_string())).collect();
    assert_eq!(joined(&many_large).len(), 8, "3 MB and some are full");
    assert!(joined(&[]).is_empty());
}

#[test]
fn what_is_looked_at_by_several_is_one_item_and_fails_all_of_them() {
    let looking = |key: &str| set(vec![check_at("t", Some(1)), put_at(key, None)], 1);
    let sets = [looking("a"), looking("b"), set(many("c", 1), 1)];
    let transaction = transaction(&sets, &TableHead::default());
    // t, a, event, b, event, c, event, change, head.
    assert_eq!(transaction.items.len(), 9);
    assert_eq!(transaction.last_events, [1, 2, 3]);
    assert_eq!(transaction.head.change, 1);
    let verdict = reasons(&transaction, &[(0, "ConditionalCheckFailed")]);
    let mut lost: Vec<_> = verdict.lost.iter().map(|(place, (fault, _))| (*place, *fault)).collect();
    lost.sort_by_key(|(place, _)| *place);
    assert_eq!(lost, [(0, Fault::Conflict), (1, Fault::Conflict)]);
    assert!(verdict.lost[&0].1.contains("tenant t: expected version 1"), "{:?}", verdict.lost);
    assert!(verdict.stopped.is_none() && verdict.head_moved.is_none());
}

#[test]
fn a_head_that_moved_is_nobodys_conflict_and_an_event_without_a_head_is_broken() {
    let before = TableHead { change: 7, ..TableHead::default() };
    let transaction = transaction(&[set(many("a", 1), 1)], &before);
    // a, event, change, head.
    let verdict = reasons(&transaction, &[(1, "ConditionalCheckFailed"), (3, "ConditionalCheckFailed")]);
    assert!(verdict.lost.is_empty() && verdict.stopped.is_none() && verdict.head_moved == Some(None), "{verdict:?}");
    let verdict = reasons(&transaction, &[(1, "ConditionalCheckFailed")]);
    assert_eq!(verdict.stopped.map(|(fault, _)| fault), Some(Fault::Broken));
    for code in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
        let verdict = reasons(&transaction, &[(0, code)]);
        assert_eq!(verdict.stopped.map(|(fault, _)| fault), Some(Fault::Throttled), "{code}");
    }
    let verdict = reasons(&transaction, &[(0, "ValidationError")]);
    assert_eq!(verdict.lost[&0].0, Fault::Refused);
    let verdict = reasons(&transaction, &[(0, "TransactionConflict"), (3, "TransactionConflict")]);
    assert!(verdict.lost.is_empty() && verdict.stopped.is_none() && verdict.head_moved.is_none());
}

#[test]
fn the_largest_change_set_fills_a_transaction() {
    let largest = set(many("a", ChangeSet::MAX_WRITES), ChangeSet::MAX_EVENTS);
    assert_eq!(largest.check(), Ok(()));
    assert_eq!(transaction(&[largest], &TableHead::default()).items.len(), MAX_ITEMS);
}

#[test]
fn what_changes_nothing_leaves_the_head_alone() {
    let before = TableHead { change: 7, ..TableHead::default() };
    let looking = transaction(&[set(vec![check_at("t", Some(1))], 0)], &before);
    assert_eq!((looking.items.len(), looking.makes_a_change()), (1, false));
    assert_eq!(looking.head, before);
    for sets in [set(many("a", 1), 0), set(Vec::new(), 1)] {
        let transaction = transaction(&[sets], &before);
        assert_eq!((transaction.items.len(), transaction.makes_a_change()), (3, true));
        assert_eq!(transaction.head.change, 8);
    }
}
