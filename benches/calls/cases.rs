//! The kinds of calls that are measured.

use std::fmt;

use super::h2load;
use super::load::{self, Order};
use super::platform::Platform;
use super::server::Server;
use super::table::Sample;

/// Calls of one case in one round.
pub const CALLS: usize = 20_000;
/// Tokens that are verified for the first time, of one case in one round.
pub const FIRST_SEEN: usize = 4_000;

/// What all cases are asked of.
pub struct Servers<'a> {
    pub platform: &'a Platform,
    pub stock: &'a Server,
    pub tuned: &'a Server,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    StockEcho,
    TunedEcho,
    Keyward,
    KeywardMtls,
}

#[derive(Clone, Copy, PartialEq)]
pub enum What {
    /// The token of one client.
    GetOne,
    /// The tokens of 100,000 clients and scope sets, in turn.
    GetMany,
    /// One token.
    VerifyOne,
    /// Each token for the first time.
    VerifyNew,
    /// One token, and a new one in every hundred calls.
    VerifyMix,
}

#[derive(Clone, Copy)]
enum By {
    /// This program, which looks at gRPC's status.
    Us,
    /// h2load, which does not.
    H2load,
}

/// One line of the table.
pub struct Case {
    what: What,
    who: Who,
    by: By,
    connections: usize,
    /// Calls at a time on each connection.
    streams: usize,
}

/// Those that are compared with each other stand together, so that they are measured at nearly the same moment.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (connections, streams) in [(1, 32), (4, 32), (64, 4)] {
        for (what, who) in [
            (What::GetOne, Who::StockEcho),
            (What::GetOne, Who::TunedEcho),
            (What::GetOne, Who::Keyward),
            (What::GetOne, Who::KeywardMtls),
            (What::VerifyOne, Who::StockEcho),
            (What::VerifyOne, Who::TunedEcho),
            (What::VerifyOne, Who::Keyward),
        ] {
            cases.push(Case { what, who, by: By::Us, connections, streams });
        }
    }
    for (what, who) in [
        (What::VerifyNew, Who::TunedEcho),
        (What::VerifyNew, Who::Keyward),
        (What::VerifyMix, Who::Keyward),
        (What::GetMany, Who::TunedEcho),
        (What::GetMany, Who::Keyward),
    ] {
        cases.push(Case { what, who, by: By::Us, connections: 4, streams: 32 });
    }
    if h2load::is_there() {
        for (what, who) in [
            (What::GetOne, Who::StockEcho),
            (What::GetOne, Who::TunedEcho),
            (What::GetOne, Who::Keyward),
            (What::VerifyOne, Who::TunedEcho),
            (What::VerifyOne, Who::Keyward),
        ] {
            cases.push(Case { what, who, by: By::H2load, connections: 4, streams: 32 });
        }
    } else {
        println!("h2load is not here (Debian's nghttp2-client), so its lines are left out");
    }
    cases
}

/// The name that a case of ours over four connections has in the table.
pub fn name(what: What, who: Who) -> String {
    Case { what, who, by: By::Us, connections: 4, streams: 32 }.to_string()
}

impl Case {
    pub fn measure(&self, servers: &Servers<'_>, round: usize) -> Sample {
        let server = self.who.server(servers);
        let order = self.order(servers.platform, server, round);
        let before = server.cpu();
        let done = match self.by {
            By::Us => load::by_another_process(&order),
            By::H2load => h2load::load(&order),
        };
        let cost = (server.cpu() - before).as_secs_f64() * 1e6 / order.calls as f64;
        Sample { cost, p99: done.p99, rate: order.calls as f64 / done.seconds }
    }

    fn order(&self, platform: &Platform, server: &Server, round: usize) -> Order {
        let (method, messages) = self.what.asks();
        let rare = (self.what == What::VerifyMix).then(|| platform.folder.join("verify-rare"));
        let calls = if self.what == What::VerifyNew { FIRST_SEEN } else { CALLS };
        Order {
            address: server.address.clone(),
            tls: (self.who == Who::KeywardMtls).then(|| platform.folder.clone()),
            method: method.to_owned(),
            messages: platform.folder.join(messages),
            rare,
            // No token of an earlier round is sent again where each is to be new.
            first: round * calls,
            calls,
            connections: self.connections,
            streams: self.streams,
            rate: None,
        }
    }
}

impl Who {
    pub fn server<'a>(self, servers: &Servers<'a>) -> &'a Server {
        match self {
            Who::StockEcho => servers.stock,
            Who::TunedEcho => servers.tuned,
            Who::Keyward => &servers.platform.plaintext,
            Who::KeywardMtls => &servers.platform.tls,
        }
    }
}

impl What {
    /// Which method, and in which file the messages are.
    pub fn asks(self) -> (&'static str, &'static str) {
        match self {
            What::GetOne => ("keyward.v1.TokenService/GetToken", "get-one"),
            What::GetMany => ("keyward.v1.TokenService/GetToken", "get-many"),
            What::VerifyOne | What::VerifyMix => ("keyward.v1.VerificationService/VerifyToken", "verify-one"),
            What::VerifyNew => ("keyward.v1.VerificationService/VerifyToken", "verify-new"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::GetOne => "GetToken",
            What::GetMany => "GetToken, many keys",
            What::VerifyOne => "VerifyToken",
            What::VerifyNew => "VerifyToken, first seen",
            What::VerifyMix => "VerifyToken, 1 % first seen",
        };
        let who = match self.who {
            Who::StockEcho => "stock echo",
            Who::TunedEcho => "tuned echo",
            Who::Keyward => "keyward",
            Who::KeywardMtls => "keyward mTLS",
        };
        let by = match self.by {
            By::Us => "",
            By::H2load => " h2load",
        };
        write!(f, "{what:<27} {who:<12} {:>2} x {:<2}{by}", self.connections, self.streams)
    }
}
