//! What a token says of the person who signed in for it, and which tokens somebody accepts.
//!
//! Cognito writes the two tokens of a sign-in differently (Amazon Cognito Developer Guide, "Understanding the identity (ID)
//! token" and "Understanding the access token"): the app client is `aud` in an ID token and `client_id` in an access token, the
//! username is `cognito:username` in the one and `username` in the other. A token of the client-credentials grant has neither, so
//! a username is what tells a person's token from a machine's.
//!
//! It must never take a claim of the one kind for the other's. What a token has beside, such as `scope` in an ID token, may be
//! of a trigger's making and is not looked at.

use std::borrow::Cow;

use serde::Deserialize;

use super::id::AppClientId;
use super::interactive::ClientKind;

/// Groups of one person at the most: as many as Cognito lets a user be in (Amazon Cognito Developer Guide, "Quotas in Amazon Cognito").
pub const MAX_GROUPS: usize = 100;
/// Characters of a group's name or of a username at the most (`GroupNameType` and `UsernameType` of Cognito's service model).
pub const MAX_NAME: usize = 128;
/// Characters of a `sub` at the most (OpenID Connect Core 1.0, section 2). Cognito's are UUIDs.
const MAX_SUBJECT: usize = 255;

/// What a token is for, as its `token_use` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    Access,
    Id,
    /// Something else, which nobody accepts.
    Other,
}

impl TokenUse {
    pub fn read(claim: &str) -> Self {
        match claim {
            "access" => TokenUse::Access,
            "id" => TokenUse::Id,
            _ => TokenUse::Other,
        }
    }

    /// As the claim has it, for those that have a name.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenUse::Access => "access",
            TokenUse::Id => "id",
            TokenUse::Other => "",
        }
    }
}

/// Which tokens are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// Access tokens of machines.
    #[default]
    Machines,
    /// Access tokens, of machines and of people.
    Access,
    /// ID tokens, which only people have.
    Id,
}

impl Accepted {
    pub const fn token_use(self) -> TokenUse {
        match self {
            Accepted::Machines | Accepted::Access => TokenUse::Access,
            Accepted::Id => TokenUse::Id,
        }
    }

    pub const fn takes(self, kind: ClientKind) -> bool {
        match self {
            Accepted::Machines => matches!(kind, ClientKind::Machine),
            Accepted::Access => true,
            Accepted::Id => matches!(kind, ClientKind::Interactive),
        }
    }
}

/// Who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `sub`: the user's id in the pool, 1 to 255 characters.
    pub subject: String,
    /// The user's name in the pool, 1 to 128 characters.
    pub username: String,
    /// `cognito:groups`: at most 100 names of 1 to 128 characters, in ascending order, each once.
    pub groups: Vec<String>,
}

/// What both tokens say of a person. Each name is one of Cognito's own, which no attribute of a user can take.
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow, rename = "cognito:groups")]
    groups: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct InAccess<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
}

#[derive(Deserialize)]
struct InId<'a> {
    #[serde(borrow, rename = "cognito:username")]
    username: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Audience {
    aud: AppClientId,
}

impl Person {
    /// From the payload of a token that has such claims. Fails with what is wrong with them.
    pub fn read(payload: &[u8], token_use: TokenUse) -> Result<Self, &'static str> {
        let claims: Claims<'_> = serde_json::from_slice(payload)
            .map_err(|_| "its sub or its cognito:groups are missing or of the wrong type")?;
        let username = match token_use {
            TokenUse::Id => serde_json::from_slice(payload).map(|InId { username }| username),
            TokenUse::Access | TokenUse::Other => serde_json::from_slice(payload).map(|InAccess { username }| username),
        };
        let username = username.ok().filter(|name| is_name(name, MAX_NAME));
        let username = username.ok_or("its username is not 1 to 128 characters")?;
        if !is_name(&claims.sub, MAX_SUBJECT) {
            return Err("its sub is not 1 to 255 characters");
        }
        let mut groups = claims.groups.unwrap_or_default();
        if groups.len() > MAX_GROUPS || !groups.iter().all(|group| is_name(group, MAX_NAME)) {
            return Err("its cognito:groups are not at most 100 of 1 to 128 characters");
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Person {
            subject: claims.sub.into_owned(),
            username: username.into_owned(),
            groups: groups.into_iter().map(Cow::into_owned).collect(),
        })
    }
}

/// The app client that an ID token was issued to, from its payload; `None` where its `aud` is anything but the id of one.
pub fn audience(payload: &[u8]) -> Option<AppClientId> {
    serde_json::from_slice(payload).ok().map(|Audience { aud }| aud)
}

fn is_name(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(payload: &Value, token_use: TokenUse) -> Result<Person, &'static str> {
        Person::read(payload.to_string().as_bytes(), token_use)
    }

    #[test]
    fn each_kind_of_token_has_the_username_under_a_name_of_its_own() {
        let payload = json!({ "sub": "s", "username": "ada", "cognito:username": "eve" });
        assert_eq!(read(&payload, TokenUse::Access).map(|person| person.username), Ok("ada".to_owned()));
        assert_eq!(read(&payload, TokenUse::Id).map(|person| person.username), Ok("eve".to_owned()));
        let problem = Err("its username is not 1 to 128 characters");
        assert_eq!(read(&json!({ "sub": "s", "cognito:username": "eve" }), TokenUse::Access), problem);
        assert_eq!(read(&json!({ "sub": "s", "username": "ada" }), TokenUse::Id), problem);
    }

    #[test]
    fn groups_are_sorted_and_each_is_there_once() {
        let payload = |groups: Value| json!({ "sub": "s", "username": "ada", "cognito:groups": groups });
        let groups = |groups: Value| read(&payload(groups), TokenUse::Access).map(|person| person.groups);
        assert_eq!(groups(json!(["b", "\u{e9}", "a", "b"])), Ok(vec!["a".into(), "b".into(), "\u{e9}".into()]));
        assert_eq!(groups(Value::Null), Ok(Vec::new()));
        let many = |count: usize| (0..count).map(|number| format!("group {number:03}")).collect::<Vec<_>>();
        assert_eq!(groups(json!(many(MAX_GROUPS))).map(|groups| groups.len()), Ok(MAX_GROUPS));
        assert_eq!(groups(json!(["\u{e9}".repeat(MAX_NAME)])).map(|groups| groups.len()), Ok(1));
        let too_much = Err("its cognito:groups are not at most 100 of 1 to 128 characters");
        for groups_of in [json!(many(MAX_GROUPS + 1)), json!(["x".repeat(MAX_NAME + 1)]), json!([""]), json!(["a\nb"])]
        {
            assert_eq!(groups(groups_of.clone()), too_much, "{groups_of}");
        }
        for groups_of in [json!("a"), json!({}), json!([1]), json!([["a"]])] {
            assert!(groups(groups_of.clone()).is_err(), "{groups_of}");
        }
    }

    #[test]
    fn an_id_token_is_of_one_app_client() {
        let of = |payload: &str| audience(payload.as_bytes()).map(|app_client| app_client.to_string());
        assert_eq!(of(r#"{"aud":"abc123"}"#).as_deref(), Some("abc123"));
        for payload in ["{}", r#"{"aud":["abc123"]}"#, r#"{"aud":null}"#, r#"{"aud":""}"#, r#"{"client_id":"abc123"}"#]
        {
            assert_eq!(of(payload), None, "{payload}");
        }
    }
}
