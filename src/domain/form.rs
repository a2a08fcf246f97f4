//! Forms: in which way something is stored, so that brokers of two releases can work on one registry at one time.
//!
//! Forms are numbered from 1, for the whole registry. Every record and every audit event is stored with the number of the
//! least form in which all of it can be said; where none is stored it is 1. So a record that makes no use of what a form has
//! brought stays in the form before, and one that does keeps its form whoever rewrites it.
//!
//! - **A broker reads every form up to [`Form::READ`]**, however old.
//! - **A form is read a release before it is written.** What a release begins to write ([`Form::WRITTEN`]) is what the one
//!   before could read already. So two releases that follow each other work side by side without asking, in whatever
//!   order they are started and stopped, and going back by one is always possible.
//! - **A newer form is never guessed at.** A broker that meets one says so (RECORD_FORM_NEWER), for that record alone. It does
//!   not take the record for absent and does not rewrite it: a write names the version that was read.
//! - **A form is fixed once it was released.** A field more is another form. Otherwise a broker that does not know the field
//!   would drop it when it rewrites the record. `tests/suite/forms/fields.txt` has all fields of what is stored.
//!
//! Whoever skips a release is held off, not mended: a broker does not start beside one that could not read what it writes
//! ([`left_behind`]), nor on a registry that has something of a form that it does not read.

use std::fmt;

use jiff::Timestamp;

use super::share::{Member, ShareTerms};

/// The number of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form(u32);

/// What the release before this one, 0.2, reads.
const READ_BEFORE: Form = Form::SECOND;

impl Form {
    pub const FIRST: Form = Form(1);
    /// Interactive clients, identity providers, sign-in domains, moves, and all settings of a pool of one's own.
    pub const SECOND: Form = Form(2);
    /// The newest that this Keyward reads.
    pub const READ: Form = Form::SECOND;
    /// The newest that this Keyward begins to write.
    pub const WRITTEN: Form = Form::SECOND;

    /// `None` for 0 and for what is no number of a form.
    pub fn new(number: u64) -> Option<Form> {
        u32::try_from(number).ok().filter(|number| *number > 0).map(Form)
    }

    pub const fn number(self) -> u32 {
        self.0
    }

    pub fn is_read(self) -> bool {
        self <= Form::READ
    }
}

const _: () = assert!(Form::WRITTEN.0 <= READ_BEFORE.0, "the release before could not read what this one writes");
const _: () = assert!(Form::WRITTEN.0 <= Form::READ.0, "what is written must be read");

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A live broker that does not read what one that writes `written` would write. One whose membership has lapsed may still
/// run; it finds newer forms by itself.
pub fn left_behind(members: &[Member], written: Form, now: Timestamp) -> Option<&Member> {
    let difference = ShareTerms::default().clock_difference;
    let is_live = |member: &Member| now < member.expire_time.saturating_add(difference).unwrap_or(Timestamp::MAX);
    members.iter().find(|member| member.reads < written && is_live(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::BrokerId;

    #[test]
    fn a_form_is_a_number_from_one_on() {
        assert_eq!(Form::new(1), Some(Form::FIRST));
        assert_eq!(Form::new(u64::from(u32::MAX)).map(Form::number), Some(u32::MAX));
        assert_eq!((Form::new(0), Form::new(u64::from(u32::MAX) + 1)), (None, None));
        assert!(Form::READ.is_read() && !Form(Form::READ.0 + 1).is_read());
    }

    #[test]
    fn who_lives_and_cannot_read_what_is_written_is_left_behind() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let member = |digit: &str, reads, expire_second| Member {
            broker: BrokerId::parse("broker", &digit.repeat(32)).expect("valid"),
            expire_time: at(expire_second),
            read_time: None,
            reads: Form(reads),
        };
        let members = [member("a", 2, 100), member("b", 1, 50), member("c", 3, 100)];
        let found = |written, now| left_behind(&members, Form(written), at(now)).map(|member| member.broker.as_str());
        let broker = |place: usize| Some(members[place].broker.as_str());
        assert_eq!(found(1, 0), None);
        assert_eq!(found(2, 54), broker(1), "live by some clock");
        assert_eq!(found(2, 55), None);
        assert_eq!(found(3, 55), broker(0));
    }
}
