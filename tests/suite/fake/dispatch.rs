//! From an HTTP request to an operation and back: the protocol, the fault that waits for the call, the signature, the
//! quota, the model, the effect.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::faults::Fault;
use super::http::{self, Answer, Asked, Reply};
use super::model::Model;
use super::tokens::{self, Grant};
use super::world::{ApiError, Ask, OperationResult, World};
use super::{
    Call, Outcome, Service, Shared, app_clients, authorize, domains, providers, resource_servers, secrets, signing,
    user_pools, versions,
};

/// What an operation may call an error of the service's own: app clients', secrets of app clients, Secrets Manager's.
const INTERNAL_ERRORS: [&str; 3] = ["InternalErrorException", "InternalServerException", "InternalServiceError"];

const TOKEN: &str = "/oauth2/token";
const KEYS: &str = "/.well-known/jwks.json";
const AUTHORIZE: &str = "/oauth2/authorize";

type Operation = fn(&mut World, &Ask<'_>) -> OperationResult;

/// Everything that the fake can do; what AWS has beyond it is a complaint.
fn operation(service: Service, name: &str) -> Option<Operation> {
    let operation: Operation = match (service, name) {
        (Service::Cognito, "CreateUserPool") => user_pools::create,
        (Service::Cognito, "DescribeUserPool") => user_pools::describe,
        (Service::Cognito, "UpdateUserPool") => user_pools::update,
        (Service::Cognito, "DeleteUserPool") => user_pools::delete,
        (Service::Cognito, "ListUserPools") => user_pools::list,
        (Service::Cognito, "SetUserPoolMfaConfig") => user_pools::set_mfa,
        (Service::Cognito, "GetUserPoolMfaConfig") => user_pools::get_mfa,
        (Service::Cognito, "TagResource") => user_pools::tag,
        (Service::Cognito, "UntagResource") => user_pools::untag,
        (Service::Cognito, "ListTagsForResource") => user_pools::list_tags,
        (Service::Cognito, "CreateUserPoolDomain") => domains::create,
        (Service::Cognito, "DescribeUserPoolDomain") => domains::describe,
        (Service::Cognito, "UpdateUserPoolDomain") => domains::update,
        (Service::Cognito, "DeleteUserPoolDomain") => domains::delete,
        (Service::Cognito, "CreateResourceServer") => resource_servers::create,
        (Service::Cognito, "DescribeResourceServer") => resource_servers::describe,
        (Service::Cognito, "UpdateResourceServer") => resource_servers::update,
        (Service::Cognito, "DeleteResourceServer") => resource_servers::delete,
        (Service::Cognito, "ListResourceServers") => resource_servers::list,
        (Service::Cognito, "CreateUserPoolClient") => app_clients::create,
        (Service::Cognito, "DescribeUserPoolClient") => app_clients::describe,
        (Service::Cognito, "UpdateUserPoolClient") => app_clients::update,
        (Service::Cognito, "DeleteUserPoolClient") => app_clients::delete,
        (Service::Cognito, "ListUserPoolClients") => app_clients::list,
        (Service::Cognito, "AddUserPoolClientSecret") => app_clients::add_secret,
        (Service::Cognito, "ListUserPoolClientSecrets") => app_clients::list_secrets,
        (Service::Cognito, "DeleteUserPoolClientSecret") => app_clients::delete_secret,
        (Service::Cognito, "CreateIdentityProvider") => providers::create,
        (Service::Cognito, "DescribeIdentityProvider") => providers::describe,
        (Service::Cognito, "UpdateIdentityProvider") => providers::update,
        (Service::Cognito, "DeleteIdentityProvider") => providers::delete,
        (Service::Cognito, "ListIdentityProviders") => providers::list,
        (Service::Cognito, "GetClientToken") => tokens::get_client_token,
        (Service::SecretsManager, "CreateSecret") => secrets::create,
        (Service::SecretsManager, "UpdateSecret") => secrets::update,
        (Service::SecretsManager, "DescribeSecret") => secrets::describe,
        (Service::SecretsManager, "DeleteSecret") => secrets::delete,
        (Service::SecretsManager, "RestoreSecret") => secrets::restore,
        (Service::SecretsManager, "ListSecrets") => secrets::list,
        (Service::SecretsManager, "PutResourcePolicy") => secrets::put_policy,
        (Service::SecretsManager, "GetResourcePolicy") => secrets::get_policy,
        (Service::SecretsManager, "DeleteResourcePolicy") => secrets::delete_policy,
        (Service::SecretsManager, "TagResource") => secrets::tag,
        (Service::SecretsManager, "UntagResource") => secrets::untag,
        (Service::SecretsManager, "PutSecretValue") => versions::put,
        (Service::SecretsManager, "GetSecretValue") => versions::get,
        (Service::SecretsManager, "ListSecretVersionIds") => versions::list,
        (Service::SecretsManager, "UpdateSecretVersionStage") => versions::move_label,
        _ => return None,
    };
    Some(operation)
}

pub struct Front {
    shared: Arc<Shared>,
}

impl Front {
    pub fn new(shared: Arc<Shared>) -> Self {
        // A model is fetched and read before the first call, which would otherwise wait for it.
        Model::of(Service::Cognito);
        Model::of(Service::SecretsManager);
        Front { shared }
    }
}

#[async_trait]
impl http::Service for Front {
    async fn answer(&self, asked: Asked) -> Reply {
        let (service, name) = target(&asked);
        let action = format!("{}:{name}", service.signing_name());
        let call = {
            let mut state = self.shared.state();
            let time = self.shared.clock.now();
            let pool = pool_of(&asked, service);
            let outcome = Outcome::Unanswered;
            let endpoint = place(&asked.path).0.to_owned();
            state.calls.push(Call { action: action.clone(), endpoint, region: String::new(), pool, time, outcome });
            state.calls.len() - 1
        };
        let fault = self.shared.faults.meet(&action);
        if fault == Some(Fault::Hang) {
            self.shared.faults.hang().await;
        }
        if let Some(reply) = fault.and_then(|fault| self.instead(fault, service, &name)) {
            self.note(call, Outcome::Faulted);
            return reply;
        }
        let (outcome, answer) = self.perform(&asked, service, &name, call);
        let is_done = outcome == Outcome::Done;
        let lost = || if is_done { Outcome::DoneUnheard } else { outcome.clone() };
        match fault {
            Some(Fault::HangAfter) => {
                self.note(call, lost());
                self.shared.faults.hang().await;
                Reply::Whole(answer)
            }
            Some(Fault::LostAnswer) => {
                self.note(call, lost());
                Reply::Close
            }
            Some(Fault::ResetAfter) => {
                self.note(call, lost());
                Reply::Reset
            }
            Some(Fault::TornBody) => {
                self.note(call, lost());
                Reply::Torn(answer)
            }
            _ => {
                self.note(call, outcome);
                Reply::Whole(answer)
            }
        }
    }
}

impl Front {
    fn note(&self, call: usize, outcome: Outcome) {
        // Calls may have been forgotten meanwhile.
        if let Some(call) = self.shared.state().calls.get_mut(call) {
            call.outcome = outcome;
        }
    }

    fn complain(&self, text: String) {
        self.shared.state().complaints.push(text);
    }

    /// The answer to a call that is not carried out; `None` for a fault that comes after the effect.
    fn instead(&self, fault: Fault, service: Service, name: &str) -> Option<Reply> {
        let answer = match fault {
            Fault::Throttled => self.throttled(service, name),
            Fault::RateExceeded => tokens::json_answer(400, &json!({ "error": "Rate exceeded" })),
            Fault::Error(error) if service == Service::Oauth => tokens::refusal(error),
            Fault::Error(error) => self.refusal(service, name, &ApiError::new(error, "as it was ordered")),
            Fault::Internal if service == Service::Oauth => {
                tokens::json_answer(500, &json!({ "error": "server_error" }))
            }
            Fault::Internal => {
                let declares = |error: &&&str| Model::of(service).declares(name, error);
                let error = INTERNAL_ERRORS.iter().find(declares).unwrap_or(&INTERNAL_ERRORS[0]);
                self.refusal(service, name, &ApiError::new(error, "as it was ordered"))
            }
            Fault::Status(status) => {
                let headers = vec![("content-type", "text/html".to_owned())];
                Answer { status, headers, body: b"<html><body>The service is not well</body></html>".to_vec() }
            }
            Fault::ResetBefore => return Some(Reply::Reset),
            Fault::Hang | Fault::HangAfter | Fault::ResetAfter | Fault::TornBody | Fault::LostAnswer => return None,
        };
        Some(Reply::Whole(answer))
    }

    fn throttled(&self, service: Service, name: &str) -> Answer {
        if service == Service::Oauth {
            return tokens::json_answer(429, &json!({ "error": "Too many requests" }));
        }
        let is_declared =
            Model::of(service).knows(name) && Model::of(service).declares(name, "TooManyRequestsException");
        let error = if is_declared { "TooManyRequestsException" } else { "ThrottlingException" };
        self.refusal(service, name, &ApiError::new(error, "Rate exceeded"))
    }

    fn perform(&self, asked: &Asked, service: Service, name: &str, call: usize) -> (Outcome, Answer) {
        if service == Service::Oauth {
            return self.oauth(asked, name, call);
        }
        let refused = |error: ApiError| {
            let answer = self.refusal(service, name, &error);
            (Outcome::Refused(error.name), answer)
        };
        let (region, input) = match self.admit(asked, service, name, call) {
            Ok(admitted) => admitted,
            Err(Refusal::Error(error)) => return refused(error),
            Err(Refusal::Throttled) => return (Outcome::Throttled, self.throttled(service, name)),
        };
        let Some(operation) = operation(service, name) else {
            self.complain(format!("{name}: the fake does not have it"));
            return refused(ApiError::new("UnknownOperationException", ""));
        };
        if name.ends_with("UserPoolClientSecret") || name.ends_with("UserPoolClientSecrets") {
            let is_unknown = self.shared.state().world.ignores_own_secrets;
            if is_unknown {
                return refused(ApiError::new("UnknownOperationException", ""));
            }
        }
        let now = self.shared.clock.now();
        let members = input.as_object().expect("a structure");
        let ask = Ask { region: &region, now, input: members };
        let result = {
            let state = &mut *self.shared.state();
            secrets::purge(&mut state.world, now);
            state.world.settle_domains(now);
            let result = operation(&mut state.world, &ask);
            if let Some(dead) = state.watched.as_ref().and_then(|watched| watched.complaint(&state.world, now)) {
                state.complaints.push(format!("after {name}: {dead}"));
            }
            result
        };
        match result {
            Err(error) => refused(error),
            Ok(output) => {
                if let Err(misfit) = Model::of(service).check_output(name, &output) {
                    self.complain(format!("{name} answers: {}", misfit.text));
                }
                (Outcome::Done, answer(200, &output))
            }
        }
    }

    /// The signature, the quota and the model, in this order.
    fn admit(&self, asked: &Asked, service: Service, name: &str, call: usize) -> Result<(String, Value), Refusal> {
        let model = Model::of(service);
        let is_protocol = asked.method == "POST"
            && place(&asked.path).1 == "/"
            && asked.header("content-type") == "application/x-amz-json-1.1"
            && model.knows(name);
        if !is_protocol {
            self.complain(format!("{} {} {name}: not the JSON protocol", asked.method, asked.path));
            return Err(ApiError::new("UnknownOperationException", "").into());
        }
        // IAM has no say in this one, so it need not be signed; the SDK signs it when it has credentials.
        let is_open = name == "GetClientToken" && asked.header("authorization").is_empty();
        let region =
            if is_open { self.region_of_client(asked) } else { signing::check(asked, service.signing_name())? };
        let pool = {
            let mut state = self.shared.state();
            let call = state.calls.get_mut(call).map(|call| {
                call.region.clone_from(&region);
                call.pool.clone()
            });
            call.flatten()
        };
        let now = self.shared.clock.now();
        if !self.shared.state().quotas.admit(service, name, &region, pool.as_deref(), now) {
            return Err(Refusal::Throttled);
        }
        let input: Value = serde_json::from_slice(&asked.body).map_err(|error| {
            self.complain(format!("{name}: {error}"));
            ApiError::new("SerializationException", "")
        })?;
        model.check_input(name, &input).map_err(|misfit| {
            self.complain(format!("{name}: {}", misfit.text));
            let error = match (misfit.is_unreadable, service) {
                (true, _) => "SerializationException",
                (false, Service::Cognito) => "InvalidParameterException",
                (false, _) => "ValidationException",
            };
            ApiError::new(error, format!("1 validation error detected: {}", misfit.text))
        })?;
        Ok((region, input))
    }

    fn region_of_client(&self, asked: &Asked) -> String {
        let input: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let state = self.shared.state();
        let pool = state.world.pool_of_client(input["ClientId"].as_str().unwrap_or_default());
        pool.map_or(super::REGION, |pool| &pool.region).to_owned()
    }

    fn oauth(&self, asked: &Asked, name: &str, call: usize) -> (Outcome, Answer) {
        let now = self.shared.clock.now();
        let refused = |error: &str| (Outcome::Refused(error.to_owned()), tokens::refusal(error));
        match name {
            "Keys" => {
                let id = place(&asked.path).1.trim_start_matches('/').split('/').next().unwrap_or_default();
                let set = self.shared.state().world.pools.get(id).map(tokens::key_set);
                match set.filter(|_| asked.method == "GET") {
                    Some(set) => (Outcome::Done, tokens::json_answer(200, &set)),
                    None => (Outcome::Refused("404".to_owned()), tokens::json_answer(404, &json!({}))),
                }
            }
            "Token" => {
                let grant = match Grant::read(asked) {
                    Ok(grant) => grant,
                    Err(error) => return refused(error),
                };
                if !self.admit_token(&grant, call, now) {
                    return (Outcome::Throttled, self.throttled(Service::Oauth, name));
                }
                let domain = place(&asked.path).1.strip_suffix(TOKEN).unwrap_or_default().trim_start_matches('/');
                let state = self.shared.state();
                let pool = state.world.pool_of_client(&grant.client);
                let is_there = pool.is_none_or(|pool| domain.is_empty() || state.world.is_served(domain, pool, now));
                drop(state);
                if !is_there {
                    return (Outcome::Refused("404".to_owned()), tokens::json_answer(404, &json!({})));
                }
                match tokens::token(&mut self.shared.state().world, &grant, now) {
                    Ok(token) => (Outcome::Done, tokens::json_answer(200, &token)),
                    Err(error) => refused(error),
                }
            }
            "Authorize" => {
                let state = &mut *self.shared.state();
                state.world.settle_domains(now);
                let outcome = authorize::authorize(&state.world, asked, now);
                let answer = authorize::answer(&outcome);
                (outcome.map_or_else(|refusal| Outcome::Refused(format!("{refusal:?}")), |_| Outcome::Done), answer)
            }
            _ => {
                self.complain(format!("{} {}: there is no such place", asked.method, asked.path));
                (Outcome::Refused("404".to_owned()), tokens::json_answer(404, &json!({})))
            }
        }
    }

    /// Notes whose pool the token is of, and asks the quota of its Region.
    fn admit_token(&self, grant: &Grant, call: usize, now: Timestamp) -> bool {
        let mut state = self.shared.state();
        let place = state.world.pool_of_client(&grant.client).map(|pool| (pool.region.clone(), pool.id.clone()));
        let (region, pool) = place.map_or((super::REGION.to_owned(), None), |(region, pool)| (region, Some(pool)));
        if let Some(call) = state.calls.get_mut(call) {
            call.region.clone_from(&region);
            call.pool.clone_from(&pool);
        }
        state.quotas.admit(Service::Oauth, "Token", &region, pool.as_deref(), now)
    }

    /// An error as the protocol has it. One that the operation does not have is a complaint.
    fn refusal(&self, service: Service, name: &str, error: &ApiError) -> Answer {
        let status = Model::of(service).status_of(name, &error.name).unwrap_or_else(|| {
            self.complain(format!("{name} does not answer with {}", error.name));
            400
        });
        let message = if service == Service::Cognito { "message" } else { "Message" };
        let mut answer = answer(status, &json!({ "__type": error.name, message: error.message }));
        answer.headers.push(("x-amzn-errortype", format!("{}:", error.name)));
        answer
    }
}

enum Refusal {
    Error(ApiError),
    Throttled,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal::Error(error)
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    let headers = vec![("content-type", "application/x-amz-json-1.1".to_owned())];
    Answer { status, headers, body: body.to_string().into_bytes() }
}

fn target(asked: &Asked) -> (Service, String) {
    let target = asked.header("x-amz-target");
    match target.split_once('.') {
        Some(("AWSCognitoIdentityProviderService", name)) => (Service::Cognito, name.to_owned()),
        Some(("secretsmanager", name)) => (Service::SecretsManager, name.to_owned()),
        _ if asked.path.ends_with(TOKEN) => (Service::Oauth, "Token".to_owned()),
        _ if asked.path.ends_with(KEYS) => (Service::Oauth, "Keys".to_owned()),
        _ if asked.path == AUTHORIZE => (Service::Oauth, "Authorize".to_owned()),
        _ => (Service::Oauth, asked.path.clone()),
    }
}

/// The Region whose endpoint was called, where the URL tells it ([`Fake::by_region`](super::Fake)), and the path below
/// it.
fn place(path: &str) -> (&str, &str) {
    for region in [super::REGION, super::OTHER_REGION] {
        match path.strip_prefix('/').and_then(|rest| rest.strip_prefix(region)) {
            Some("") => return (region, "/"),
            Some(rest) if rest.starts_with('/') => return (region, rest),
            _ => {}
        }
    }
    ("", path)
}

/// As far as the request itself says it.
fn pool_of(asked: &Asked, service: Service) -> Option<String> {
    let input: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    match service {
        Service::Cognito => input["UserPoolId"].as_str().map(str::to_owned),
        Service::SecretsManager => None,
        Service::Oauth => place(&asked.path).1.strip_suffix(KEYS).map(|pool| pool[1..].to_owned()),
    }
}
