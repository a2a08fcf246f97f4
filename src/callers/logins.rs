//! A tenant's client at a token endpoint of OAuth 2.0: by its own app client id and secret and nothing else (RFC 6749, section
//! 2.3.1), as HTTP Basic or in the body of the request.
//!
//! What the connection has proven does not count here. The secret says whose token is asked for, wherever it is shown: at
//! the pool's own endpoint nobody is asked for more. So a client certificate is the transport's, and in nobody's way. It must
//! never take two logins of one request, nor one that is partly in each place. Failures count with those of all other
//! calls from there.

use std::sync::Arc;

use super::basic::Login;
use super::form::Form;
use super::rates::{Counts, Origin};
use super::refusals::{ambiguous, invalid, missing, no_login};
use super::{ClientSecrets, caller, scheme_and_credential};
use crate::domain::caller::{Caller, Principal};
use crate::domain::error::Result;
use crate::domain::grant::Grants;
use crate::net::Connection;

/// How clients are told at a token endpoint.
pub struct ClientLogins {
    secrets: Arc<dyn ClientSecrets>,
    grants: Grants,
    counts: Arc<Counts>,
}

impl ClientLogins {
    /// `grants` may make of a client more than itself, or refuse it. `counts` are those of the other doors.
    pub fn new(secrets: Arc<dyn ClientSecrets>, grants: Grants, counts: Arc<Counts>) -> Self {
        ClientLogins { secrets, grants, counts }
    }

    /// The client whose login this is.
    ///
    /// Fails as [`Login::of`] does, which is counted as one more failure; with CREDENTIALS_INVALID where it is nobody's,
    /// whatever is wrong; with RATE_LIMITED; with UNAVAILABLE where nobody can tell now.
    pub async fn resolve(&self, connection: &Connection, login: Result<Login>) -> Result<Arc<Caller>> {
        let Counts { calls, failures, .. } = &*self.counts;
        let origin = Origin::of(Some(connection));
        failures.admit(&origin)?;
        let found = match login {
            Ok(login) => client(&*self.secrets, &self.grants, &login).await,
            Err(error) => Err(error),
        };
        let caller = found.map_err(|error| match error.reason().is_denial() {
            true => failures.count(origin, error),
            false => error,
        })?;
        calls.count(&caller.principal)?;
        Ok(caller)
    }
}

impl Login {
    /// The one login of a request. `authorization` are the values of all its `authorization` headers.
    ///
    /// Fails with CREDENTIALS_MISSING; CREDENTIALS_INVALID for another scheme than Basic and what is no login; and
    /// CREDENTIALS_AMBIGUOUS for more than one. A `client_id` in the body beside HTTP Basic proves nothing and is none, if it
    /// is the same.
    pub fn of(authorization: &[&[u8]], form: &Form) -> Result<Login> {
        let (id, secret) = (form.get("client_id"), form.get("client_secret"));
        let header = match authorization {
            [] => {
                let (Some(id), Some(secret)) = (id, secret) else {
                    return Err(missing("the request has no client id and secret"));
                };
                return Ok(Login { id: id.to_owned().into(), secret: secret.to_owned().into() });
            }
            [header] => header,
            [_, _, ..] => return Err(ambiguous("the request has more than one authorization header")),
        };
        if secret.is_some() {
            return Err(ambiguous("the request has a client secret in its body and an authorization header"));
        }
        let (scheme, credential) = scheme_and_credential(header)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(invalid("the authorization header's scheme is not Basic"));
        }
        let login = Login::read(credential).ok_or_else(no_login)?;
        match id {
            Some(id) if id != login.id.as_str() => {
                Err(ambiguous("the request names another client in its body than in its authorization header"))
            }
            _ => Ok(login),
        }
    }
}

/// The client whose login this is. Fails with one message, whatever is wrong.
pub(super) async fn client(secrets: &dyn ClientSecrets, grants: &Grants, login: &Login) -> Result<Arc<Caller>> {
    let name = secrets.check(&login.id, &login.secret).await?.ok_or_else(no_login)?;
    caller(grants, Principal::Client(name), None)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::domain::error::Reason;

    fn login(headers: &[&str], body: &str) -> Result<(String, String), Reason> {
        let headers: Vec<&[u8]> = headers.iter().map(|header| header.as_bytes()).collect();
        let form = Form::read(body.as_bytes()).expect("a form");
        let login = Login::of(&headers, &form).map_err(|error| error.reason())?;
        Ok((login.id.to_string(), login.secret.to_string()))
    }

    #[test]
    fn a_login_is_in_the_header_or_in_the_body_and_never_in_both() {
        let is = |id: &str, secret: &str| Ok((id.to_owned(), secret.to_owned()));
        let basic = format!("Basic {}", STANDARD.encode("id:a%2Bb"));
        assert_eq!(login(&[&basic], ""), is("id", "a+b"));
        assert_eq!(login(&[&basic.replace("Basic", "bASIC")], "scope=a"), is("id", "a+b"));
        assert_eq!(login(&[], "client_id=id&client_secret=a%2Bb"), is("id", "a+b"));
        assert_eq!(login(&[&basic], "client_id=id"), is("id", "a+b"), "it proves nothing more");

        assert_eq!(login(&[&basic], "client_id=other"), Err(Reason::CredentialsAmbiguous));
        assert_eq!(login(&[&basic], "client_id=id&client_secret=a%2Bb"), Err(Reason::CredentialsAmbiguous));
        assert_eq!(login(&[&basic], "client_secret=a"), Err(Reason::CredentialsAmbiguous));
        assert_eq!(login(&[&basic, &basic], ""), Err(Reason::CredentialsAmbiguous));
        for none in ["", "client_id=id", "client_secret=a", "client_id=&client_secret=a", "client_id=id&client_secret"]
        {
            assert_eq!(login(&[], none), Err(Reason::CredentialsMissing), "{none}");
        }
        let of_another_scheme = basic.replace("Basic", "Bearer");
        for bad in [&*of_another_scheme, "Bearer a.b.c", "Basic", "Basic ", "Basic ****", "Basic aWQ=", "Digest a", ""]
        {
            assert_eq!(login(&[bad], ""), Err(Reason::CredentialsInvalid), "{bad}");
        }
    }
}
