//! Lines of the feed and events of a form that is not read.

use aws_sdk_dynamodb::types::AttributeValue;
use keyward::broker::ports::{Action, ChangeFeed as _, ChangeSet, Fault, Followed, Registry as _, Shelf, Write};
use keyward::domain::audit::{Event, Outcome};
use keyward::domain::form::Form;

use super::next::unread;
use crate::harness::start_time;
use crate::peers::Peer;
use crate::registry::between::Between;
use crate::registry::pair;
use crate::registry::tables::TABLE;

async fn set_form(between: &Between, kind: &str, number: u64) {
    let key = |text: String| AttributeValue::S(text);
    let update = between.sdk().update_item().table_name(TABLE);
    let update = update.key("pk", key(kind.to_owned())).key("sk", key(format!("{number:020}")));
    let update = update.update_expression("SET form = :form");
    update.expression_attribute_values(":form", AttributeValue::N(unread().to_string())).send().await.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_read_a_line_forgets_everything_and_who_cannot_read_an_event_says_so() {
    let (one, other, between) = pair(Peer::ministack().await).await;
    for number in 0..3 {
        let event = Event {
            time: start_time(),
            principal: "keyward".to_owned(),
            method: "test".to_owned(),
            resource: "tenants/acme".to_owned(),
            outcome: Outcome::Succeeded,
            reason: String::new(),
            detail: String::new(),
            request_id: String::new(),
            call_id: String::new(),
        };
        let action = Action::Put { body: b"{}".to_vec(), form: Form::FIRST, due_time: None };
        let write = Write { shelf: Shelf::Tenant, key: format!("t{number}"), expected: None, action };
        one.commit(ChangeSet { writes: vec![write], events: vec![event] }).await.expect("committed");
    }
    let read = |followed: Followed| match followed {
        Followed::Changes(changes) => Ok(changes.len()),
        Followed::Lost { last } => Err(last),
    };
    assert_eq!(read(other.follow(0, 10).await.expect("read")), Ok(3));
    set_form(&between, "change", 2).await;
    assert_eq!(read(other.follow(0, 10).await.expect("read")), Err(3), "one in between");
    assert_eq!(read(other.follow(2, 10).await.expect("read")), Ok(1));
    set_form(&between, "change", 3).await;
    assert_eq!(read(other.follow(2, 10).await.expect("read")), Err(3), "the last");

    set_form(&between, "event", 3).await;
    assert_eq!(other.events(0, 2).await.expect("read").len(), 2);
    let refused = other.events(0, 3).await.expect_err("not read");
    assert!(refused.is(Fault::NewerForm(unread())), "{refused}");
}
