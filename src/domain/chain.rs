//! A chain of digests over a log, so that whoever changes, removes or moves a part of it is found out.
//!
//! Each link carries the SHA-256 of the link before it, which covers that link's own such digest, and so everything
//! before. A [`Walk`] goes along a chain once, from the front, and holds no more than the last link. What it cannot tell is
//! a log that was rewritten from some link to its very end: against that helps a digest that was [`Noted`] elsewhere.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

/// A SHA-256 digest. As text: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        let mut value = [0; 32];
        value.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Digest(value)
    }

    /// `None` unless there are 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Digest)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).ok();
        bytes.and_then(|bytes| Digest::from_bytes(&bytes)).ok_or("must be 64 hexadecimal digits")
    }
}

/// What a walk needs of one event, or of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub number: u64,
    /// The digest of the link before; `None` for the first of a chain, and for what is older than the chain.
    pub previous: Option<Digest>,
    pub digest: Digest,
}

/// A link's number and digest, noted where whoever can change the log cannot. As text: `17:0a1b…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    pub number: u64,
    pub digest: Digest,
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digest)
    }
}

impl FromStr for Noted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, digest) = text.split_once(':').ok_or("must be a number, a colon and 64 hexadecimal digits")?;
        let number = number.parse().map_err(|_| "must begin with a number")?;
        Ok(Noted { number, digest: digest.parse()? })
    }
}

/// A check of a chain under way.
#[derive(Debug)]
pub struct Walk {
    /// The first link that the chain protects. Those before it have no digests; it has none either.
    start: u64,
    noted: Option<Noted>,
    first: Option<Link>,
    last: Option<Link>,
    count: u64,
}

/// What a whole chain was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    pub count: u64,
    /// The numbers of the first and the last link; `None` where there is none.
    pub range: Option<(u64, u64)>,
    /// The first link that the chain protects.
    pub start: u64,
    /// The last link, to be noted.
    pub head: Option<Noted>,
}

impl Walk {
    /// `start` is the number of the first link that carries no digest because the chain begins with it.
    pub fn new(start: u64, noted: Option<Noted>) -> Self {
        Walk { start, noted, first: None, last: None, count: 0 }
    }

    /// The next link. Fails where it does not follow the one before.
    pub fn step(&mut self, link: Link) -> Result<(), Break> {
        let number = link.number;
        let before = match self.last {
            Some(last) if number <= last.number => return Err(Break::Twice { number }),
            Some(last) if number > last.number + 1 => {
                return Err(Break::Missing { first: last.number + 1, last: number - 1 });
            }
            Some(last) => Some(last.digest),
            None => link.previous,
        };
        let fits = if number > self.start {
            link.previous.is_some() && link.previous == before
        } else {
            link.previous.is_none()
        };
        if !fits {
            return Err(Break::Changed { number, expected: before });
        }
        if self.last.is_none() {
            self.first = Some(link);
        }
        if self.noted.is_some_and(|noted| self.differs(noted, &link)) {
            return Err(Break::NotAsNoted { number: self.noted.map_or(number, |noted| noted.number) });
        }
        self.last = Some(link);
        self.count += 1;
        Ok(())
    }

    /// Whether the link shows that what was noted is not what is there. The first link also tells of the one before it.
    fn differs(&self, noted: Noted, link: &Link) -> bool {
        let is_before = self.last.is_none() && noted.number + 1 == link.number;
        (noted.number == link.number && noted.digest != link.digest)
            || (is_before && link.previous != Some(noted.digest))
    }

    /// The end was reached. `end` is the last link by what the log says of itself, where it does: its number, and its
    /// digest unless it is older than the chain.
    pub fn finish(self, end: Option<(u64, Option<Digest>)>) -> Result<Walked, Break> {
        let last = self.last.map_or(0, |last| last.number);
        if let (Some((number, digest)), Some(there)) = (end, self.last) {
            if number > last {
                return Err(Break::Missing { first: last + 1, last: number });
            }
            if number < last || digest.is_some_and(|digest| digest != there.digest) {
                return Err(Break::NotTheEnd { number: last });
            }
        }
        if let Some(noted) = self.noted {
            let oldest_known = self.first.map_or(u64::MAX, |first| first.number.saturating_sub(1).max(1));
            if noted.number > last && self.last.is_some() {
                return Err(Break::Missing { first: last + 1, last: noted.number });
            }
            if noted.number < oldest_known {
                return Err(Break::NotThereAnyMore { number: noted.number });
            }
        }
        Ok(Walked {
            count: self.count,
            range: self.first.map(|first| (first.number, last)),
            start: self.start,
            head: self.last.map(|last| Noted { number: last.number, digest: last.digest }),
        })
    }
}

/// Where a chain is broken first, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The link does not carry the digest of the one before it, which is `expected`.
    Changed {
        number: u64,
        expected: Option<Digest>,
    },
    Missing {
        first: u64,
        last: u64,
    },
    /// The link is there, and in another place than its own.
    Moved {
        number: u64,
    },
    /// A link of this number was there before.
    Twice {
        number: u64,
    },
    /// The last link is not the one that the log says was its last.
    NotTheEnd {
        number: u64,
    },
    NotAsNoted {
        number: u64,
    },
    /// What was noted is older than everything that is left, so that it cannot be compared.
    NotThereAnyMore {
        number: u64,
    },
    /// The link cannot be read.
    Unreadable {
        number: u64,
    },
}

impl Break {
    /// What a link that comes after the break tells of it: what seems missing or changed may only have been moved.
    pub fn explained_by(&mut self, later: &Link) {
        match *self {
            Break::Missing { first, .. } if later.number == first => *self = Break::Moved { number: first },
            Break::Changed { number, expected: Some(expected) } if later.previous == Some(expected) => {
                *self = Break::Moved { number };
            }
            _ => {}
        }
    }

    /// In a sentence about links that are called `what`.
    pub fn describe(&self, what: &str) -> String {
        match *self {
            Break::Changed { number, .. } if number > 1 => format!(
                "{what} {} was changed, or {what} {number} was: {what} {number} does not carry the digest of the one \
                 before it",
                number - 1
            ),
            Break::Changed { number, .. } => format!("{what} {number} was changed: nothing can come before it"),
            Break::Missing { first, last } if first == last => format!("{what} {first} is missing"),
            Break::Missing { first, last } => format!("{what}s {first} to {last} are missing"),
            Break::Moved { number } => format!("{what} {number} is out of order: what belongs there comes later"),
            Break::Twice { number } => format!("{what} {number} is out of order: it comes after the next, or twice"),
            Break::NotTheEnd { number } => {
                format!("{what} {number} was changed or added: the log says that its last {what} was another")
            }
            Break::NotAsNoted { number } => format!("{what} {number} is not the one that was noted"),
            Break::NotThereAnyMore { number } => {
                format!("{what} {number} is no longer there, so that it cannot be compared; note a newer one")
            }
            Break::Unreadable { number } => format!("{what} {number} cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<Link> {
        let mut previous = None;
        let link = |number: u64| {
            let digest = Digest::of(format!("{number} after {previous:?}").as_bytes());
            let link = Link { number, previous, digest };
            previous = Some(digest);
            link
        };
        (1..=length).map(link).collect()
    }

    fn walk(links: &[Link], noted: Option<Noted>) -> Result<Walked, Break> {
        let mut walk = Walk::new(1, noted);
        for (at, link) in links.iter().enumerate() {
            if let Err(mut broken) = walk.step(*link) {
                links[at + 1..].iter().for_each(|later| broken.explained_by(later));
                return Err(broken);
            }
        }
        walk.finish(None)
    }

    fn noted(link: &Link) -> Option<Noted> {
        Some(Noted { number: link.number, digest: link.digest })
    }

    #[test]
    fn a_whole_chain_is_walked_from_wherever_it_was_pruned_to() {
        let links = chain(9);
        for start in 0..9 {
            let walked = walk(&links[start..], noted(&links[8])).expect("whole");
            assert_eq!((walked.count, walked.range), (9 - start as u64, Some((start as u64 + 1, 9))));
            assert_eq!(walked.head, noted(&links[8]));
            // What comes before the first is told by the first.
            if start > 0 {
                walk(&links[start..], noted(&links[start - 1])).expect("whole");
            }
        }
        assert_eq!(walk(&links[5..], noted(&links[2])), Err(Break::NotThereAnyMore { number: 3 }));
        assert_eq!(walk(&[], None).expect("whole").head, None);
    }

    #[test]
    fn what_was_removed_moved_or_added_is_named() {
        for at in 1..8 {
            let mut links = chain(9);
            let number = links.remove(at).number;
            assert_eq!(walk(&links, None), Err(Break::Missing { first: number, last: number }));

            let mut links = chain(9);
            links.swap(at, at + 1);
            assert_eq!(walk(&links, None), Err(Break::Moved { number: at as u64 + 1 }));

            let mut links = chain(9);
            links.insert(at, links[at]);
            assert_eq!(walk(&links, None), Err(Break::Twice { number: at as u64 + 1 }));

            // The numbers put right, as somebody would who hides it.
            let mut links = chain(9);
            links.swap(at, at + 1);
            (links[at].number, links[at + 1].number) = (links[at + 1].number, links[at].number);
            assert_eq!(walk(&links, None), Err(Break::Moved { number: at as u64 + 1 }));

            let mut links = chain(9);
            links[at].digest = Digest::of(b"another");
            let number = at as u64 + 2;
            assert!(matches!(walk(&links, None), Err(Break::Changed { number: found, .. }) if found == number));
        }
    }

    #[test]
    fn a_chain_that_was_rewritten_to_its_end_is_not_as_noted() {
        let honest = chain(9);
        let mut forged = chain(9);
        let mut previous = forged[3].previous;
        for link in &mut forged[3..] {
            link.previous = previous;
            link.digest = Digest::of(format!("forged {}", link.number).as_bytes());
            previous = Some(link.digest);
        }
        walk(&forged, None).expect("nothing is seen without a note");
        for link in &honest[3..] {
            assert_eq!(walk(&forged, noted(link)), Err(Break::NotAsNoted { number: link.number }));
        }
        assert_eq!(walk(&honest[..7], noted(&honest[8])), Err(Break::Missing { first: 8, last: 9 }));
    }

    #[test]
    fn the_end_must_be_the_one_that_the_log_says() {
        let links = chain(4);
        let ended = |end: Option<(u64, Option<Digest>)>| {
            let mut walk = Walk::new(1, None);
            links.iter().for_each(|link| walk.step(*link).expect("follows"));
            walk.finish(end)
        };
        assert!(ended(Some((4, Some(links[3].digest)))).is_ok());
        assert_eq!(ended(Some((6, Some(links[3].digest)))), Err(Break::Missing { first: 5, last: 6 }));
        assert_eq!(ended(Some((4, Some(links[2].digest)))), Err(Break::NotTheEnd { number: 4 }));
        assert_eq!(ended(Some((3, Some(links[2].digest)))), Err(Break::NotTheEnd { number: 4 }));
    }

    #[test]
    fn what_is_older_than_the_chain_has_no_digests_and_what_is_newer_has() {
        let old = |number: u64| Link { number, previous: None, digest: Digest::of(&number.to_be_bytes()) };
        let mut links = vec![old(1), old(2), old(3)];
        links.push(Link { number: 4, previous: Some(links[2].digest), digest: Digest::of(b"4") });
        let walked = |start: u64| {
            let mut walk = Walk::new(start, None);
            links.iter().try_for_each(|link| walk.step(*link))
        };
        assert_eq!(walked(3), Ok(()));
        assert!(matches!(walked(2), Err(Break::Changed { number: 3, .. })), "a digest was taken away");
        assert!(matches!(walked(4), Err(Break::Changed { number: 4, .. })));
    }

    #[test]
    fn a_note_is_read_back() {
        let noted = Noted { number: 17, digest: Digest::of(b"x") };
        assert_eq!(noted.to_string().parse(), Ok(noted));
        for bad in ["", "17", "x:00", "17:00", "17:zz"] {
            assert!(bad.parse::<Noted>().is_err(), "{bad}");
        }
    }
}
