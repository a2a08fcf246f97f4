//! The chapters. Each says what it shows, makes its calls, and checks what it expects.

use serde_json::{Value, json};
use tonic::Status;

use super::guide::Guide;
use super::load::{self, Demand};
use super::{Options, TourError};

type Told = Result<(), TourError>;

pub(super) struct Story<'w> {
    guide: Guide<'w>,
    progress: bool,
    /// The identifier of the orders API.
    server: String,
    /// acme and globex.
    tenants: [Tenant; 2],
    /// The tokens of the two, once there are any.
    tokens: [String; 2],
}

const ACME: usize = 0;
const GLOBEX: usize = 1;

/// A tenant of the story, with its one client.
#[derive(Clone)]
struct Tenant {
    id: String,
    name: String,
    display_name: &'static str,
    isolation: &'static str,
    client_id: &'static str,
    client: String,
    /// What stands for its token in commands.
    variable: &'static str,
}

fn with_suffix(name: &str, suffix: &str) -> String {
    if suffix.is_empty() { name.to_owned() } else { format!("{name}-{suffix}") }
}

fn cast(suffix: &str) -> [Tenant; 2] {
    let tenant = |id, display_name, isolation, client_id, variable| {
        let id = with_suffix(id, suffix);
        let name = format!("tenants/{id}");
        let client = format!("{name}/clients/{client_id}");
        Tenant { id, name, display_name, isolation, client_id, client, variable }
    };
    [
        tenant("acme", "Acme Inc.", "ISOLATION_APP_CLIENT", "checkout", "ACME_TOKEN"),
        tenant("globex", "Globex Corporation", "ISOLATION_USER_POOL", "reports", "GLOBEX_TOKEN"),
    ]
}

impl<'w> Story<'w> {
    pub(super) fn new(guide: Guide<'w>, options: &Options) -> Self {
        Story {
            guide,
            progress: options.progress,
            server: with_suffix("orders", &options.suffix),
            tenants: cast(&options.suffix),
            tokens: [String::new(), String::new()],
        }
    }

    pub(super) fn into_guide(self) -> Guide<'w> {
        self.guide
    }

    pub(super) async fn tell(&mut self) -> Told {
        self.catalogue().await?;
        self.onboarding().await?;
        self.clients().await?;
        self.first_tokens().await?;
        self.cache().await?;
        self.rotation().await?;
        self.wrong_tenant().await?;
        self.suspension().await?;
        self.revocation().await?;
        self.audit().await?;
        self.offboarding().await
    }

    async fn catalogue(&mut self) -> Told {
        self.guide.screen.chapter(
            "A resource server",
            "An API and its scopes, kept once. The broker applies the catalogue to every user pool.",
        )?;
        let name = format!("resourceServers/{}", self.server);
        self.guide.will_leave("CatalogService/DeleteResourceServer", json!({ "name": name }));
        let server = json!({ "identifier": self.server, "displayName": "Orders API", "scopes": [
            { "scopeName": "read", "description": "Read orders" },
            { "scopeName": "write", "description": "Place and change orders" } ] });
        let answer = self.guide.call("CatalogService/PutResourceServer", json!({ "resourceServer": server })).await?;
        let met = answer["name"] == name && has_items(&answer["scopes"], 2);
        self.guide.expect("the orders API is in the catalogue with two scopes", &answer, met)
    }

    async fn onboarding(&mut self) -> Told {
        self.guide.screen.chapter(
            "Two tenants, two models",
            "acme gets app clients in a pool that it shares with others; globex gets a user pool of its own.\n\
             Everything after this is the same for both.",
        )?;
        for Tenant { id, name, display_name, isolation, .. } in self.tenants.clone() {
            self.guide.will_leave("TenantService/DeleteTenant", json!({ "name": name }));
            let request = json!({ "tenantId": id, "tenant": { "displayName": display_name, "isolation": isolation } });
            let answer = self.guide.call("TenantService/CreateTenant", request).await?;
            let is_active = |answer: &Value| answer["state"] == "TENANT_STATE_ACTIVE" && answer["name"] == name;
            let answer = self.when("TenantService/GetTenant", &name, answer, is_active).await?;
            let met = is_active(&answer) && answer["isolation"] == isolation;
            self.guide.expect(&format!("{id} is active, with {isolation}"), &answer, met)?;
        }
        Ok(())
    }

    async fn clients(&mut self) -> Told {
        self.guide.screen.chapter(
            "A client each",
            "An app client for each tenant's backend. Its secret goes into the vault, and into no answer.",
        )?;
        let scopes = self.scopes();
        for Tenant { id, name, client_id, client, .. } in self.tenants.clone() {
            let request = json!({ "parent": name, "clientId": client_id, "client": { "scopes": scopes } });
            let answer = self.guide.call("ClientService/CreateClient", request).await?;
            let is_active = |answer: &Value| answer["state"] == "CLIENT_STATE_ACTIVE" && answer["name"] == client;
            let answer = self.when("ClientService/GetClient", &client, answer, is_active).await?;
            self.guide.expect(&format!("{id}'s client {client_id} is active"), &answer, is_active(&answer))?;
        }
        Ok(())
    }

    async fn first_tokens(&mut self) -> Told {
        self.guide.screen.chapter(
            "A token each, and whose it is",
            "The backend asks for its token and never holds a secret. An internal service shows a token that it was\n\
             sent and learns whose it is: nothing in a Cognito token names the tenant, so the broker has to know.",
        )?;
        for (which, Tenant { id, name, client, variable, .. }) in self.tenants.clone().into_iter().enumerate() {
            let answer = self.guide.call("TokenService/GetToken", json!({ "name": client })).await?;
            let token = answer["accessToken"].as_str().unwrap_or_default().to_owned();
            self.guide.screen.name_token(&token, variable)?;
            let met = token.split('.').count() == 3 && has_items(&answer["scopes"], 2);
            self.guide.expect(&format!("{id}'s client has a token for both scopes"), &answer, met)?;
            let request = json!({ "token": token, "requiredScopes": [format!("{}/read", self.server)] });
            let verdict = self.guide.call("VerificationService/VerifyToken", request).await?;
            let met = verdict["verified"]["tenant"] == name && verdict["verified"]["client"] == client;
            self.guide.expect(&format!("{id}'s token is verified as {id}'s"), &verdict, met)?;
            self.tokens[which] = token;
        }
        Ok(())
    }

    async fn cache(&mut self) -> Told {
        self.guide.screen.chapter(
            "The same token again",
            "Amazon bills every token. While one is fresh, everybody gets that one, and nothing is fetched.",
        )?;
        let answer = self.guide.call("TokenService/GetToken", json!({ "name": self.tenants[ACME].client })).await?;
        let met = answer["accessToken"] == self.tokens[ACME];
        self.guide.expect("the second token is the first", &answer, met)
    }

    async fn rotation(&mut self) -> Told {
        let callers = load::CALLERS;
        self.guide.screen.chapter(
            "Rotation, and nobody notices",
            &format!(
                "{callers} callers fetch and verify tokens without a pause while acme's secret is rotated. The new \
                 secret is stored,\nregistered beside the old, proven and made current; the old one works until the \
                 overlap is over."
            ),
        )?;
        let [read, write] = self.scopes();
        self.rotate_under_load("with an overlap", json!({ "overlap": "3600s" }), read).await?;
        self.guide.screen.say("\nOnce more, as after a compromise: no overlap, the old secret goes at once.")?;
        let rotation = self.rotate_under_load("immediately", json!({ "immediate": true }), write).await?;
        let is_over = |answer: &Value| answer["state"] == "ROTATION_STATE_SUCCEEDED";
        let request = json!({ "name": rotation["name"] });
        let settled = |answer: &Result<Value, Status>| answer.as_ref().is_ok_and(is_over);
        let _last = self.guide.settle("ClientService/GetRotation", request.clone(), settled).await?;
        let answer = self.guide.call("ClientService/GetRotation", request).await?;
        self.guide.expect("the immediate rotation is over: the old secret is gone", &answer, is_over(&answer))
    }

    /// Rotates acme's secret while callers call. Afterwards they also ask for `new_scope` alone, for which there is no
    /// token yet, so that one is fetched with the new secret.
    async fn rotate_under_load(&mut self, how: &str, extra: Value, new_scope: String) -> Result<Value, TourError> {
        let Tenant { name: tenant, client, .. } = self.tenants[ACME].clone();
        let mut request = json!({ "name": client, "reason": "the tour" });
        if let (Some(request), Value::Object(extra)) = (request.as_object_mut(), extra) {
            request.extend(extra);
        }
        let wire = self.guide.wire.clone();
        let method = wire.method("ClientService/RotateClientSecret")?;
        let request = method.request(request)?;
        self.guide.screen.command(wire.address(), &method.name, &request)?;
        let demand = Demand { client, tenant, scopes: self.scopes().to_vec(), scopes_afterwards: vec![new_scope] };
        let rotating = wire.call(&method, &request);
        let (rotated, toll) = load::under_load(&wire, demand, self.progress, rotating).await?;
        let rotation = self.guide.answered(&method.name, rotated)?;
        let met = rotation["promoteTime"].is_string() && rotation["lastErrorReason"].is_null();
        self.guide.expect(&format!("the secret is rotated {how}"), &rotation, met)?;
        let found = toll.first_failure.as_ref().map(|first| format!("{toll}; the first failure: {first}"));
        self.guide.record(&format!("meanwhile no call failed ({toll})"), found)?;
        Ok(rotation)
    }

    async fn wrong_tenant(&mut self) -> Told {
        self.guide.screen.chapter(
            "A token of the wrong tenant",
            "A service of acme's is shown a token of globex. A rejected token is an answer, not a failed call.",
        )?;
        let request = json!({ "token": self.tokens[GLOBEX], "tenant": self.tenants[ACME].name });
        let verdict = self.guide.call("VerificationService/VerifyToken", request).await?;
        let met = is_rejected(&verdict, "WRONG_TENANT");
        self.guide.expect("globex's token is rejected where acme's is demanded", &verdict, met)
    }

    async fn suspension(&mut self) -> Told {
        self.guide.screen.chapter(
            "Suspension",
            "acme has not paid. From this answer on it gets no tokens, and those that are out are refused.",
        )?;
        let Tenant { name, client, .. } = self.tenants[ACME].clone();
        let question = json!({ "token": self.tokens[ACME] });
        let request = json!({ "name": name, "reason": "invoice overdue" });
        let answer = self.guide.call("TenantService/SuspendTenant", request).await?;
        self.guide.expect("acme is suspended", &answer, answer["state"] == "TENANT_STATE_SUSPENDED")?;
        let reason = self.guide.refusal("TokenService/GetToken", json!({ "name": client })).await?;
        let found = (reason != "TENANT_SUSPENDED").then_some(reason);
        self.guide.record("acme gets no token while it is suspended", found)?;
        let verdict = self.guide.call("VerificationService/VerifyToken", question.clone()).await?;
        let met = is_rejected(&verdict, "TENANT_SUSPENDED");
        self.guide.expect("acme's token is rejected while it is suspended", &verdict, met)?;
        let answer = self.guide.call("TenantService/ResumeTenant", json!({ "name": name })).await?;
        self.guide.expect("acme is active again", &answer, answer["state"] == "TENANT_STATE_ACTIVE")?;
        let verdict = self.guide.call("VerificationService/VerifyToken", question).await?;
        let met = verdict["verified"]["tenant"] == name;
        self.guide.expect("acme's token verifies again", &verdict, met)
    }

    async fn revocation(&mut self) -> Told {
        self.guide.screen.chapter(
            "Revocation",
            "Cognito cannot take back a machine's token. The broker can: all that acme's client was issued so far.",
        )?;
        let client = &self.tenants[ACME].client;
        let request = json!({ "client": client, "reason": "a token was seen in a log" });
        let answer = self.guide.call("ClientService/RevokeTokens", request).await?;
        self.guide.expect("the revocation is in force", &answer, answer["client"] == client.as_str())?;
        let request = json!({ "token": self.tokens[ACME] });
        let verdict = self.guide.call("VerificationService/VerifyToken", request).await?;
        self.guide.expect("acme's token is rejected as revoked", &verdict, is_rejected(&verdict, "REVOKED"))
    }

    async fn audit(&mut self) -> Told {
        self.guide.screen.chapter(
            "What was done, and by whom",
            "Every change and every denial is an event, written in the same transaction. The last ones about acme:",
        )?;
        let request = json!({ "pageSize": 4, "filter": { "resourcePrefix": self.tenants[ACME].name } });
        let answer = self.guide.call("AuditService/ListAuditEvents", request).await?;
        let met = has_items(&answer["auditEvents"], 4) && !answer.to_string().contains("eyJ");
        self.guide.expect("the audit log has acme's events, and no token in them", &answer, met)
    }

    async fn offboarding(&mut self) -> Told {
        self.guide.screen.chapter(
            "Offboarding",
            "Clients, pool and secrets go with the tenant; secrets can be brought back for a recovery window.",
        )?;
        for Tenant { name, .. } in &self.tenants {
            self.guide.call("TenantService/DeleteTenant", json!({ "name": name })).await?;
        }
        let request = json!({ "token": self.tokens[GLOBEX] });
        let verdict = self.guide.call("VerificationService/VerifyToken", request).await?;
        self.guide.expect("globex's token is rejected at once", &verdict, verdict["rejected"].is_object())?;
        for Tenant { id, name, .. } in &self.tenants {
            let found = self.guide.settle_gone("TenantService/GetTenant", name).await?;
            if found.is_none() {
                self.guide.took_away(name);
            }
            self.guide.record(&format!("{id} is gone"), found)?;
        }
        Ok(())
    }

    /// `answer` itself where it is as wanted; otherwise what the broker has made of it after a while.
    async fn when(
        &self,
        method: &str,
        name: &str,
        answer: Value,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, TourError> {
        if wanted(&answer) {
            return Ok(answer);
        }
        let settled = |answer: &Result<Value, Status>| answer.as_ref().is_ok_and(&wanted);
        let last = self.guide.settle(method, json!({ "name": name }), settled).await?;
        last.map_err(|status| TourError::Call { method: method.to_owned(), status: Box::new(status) })
    }

    fn scopes(&self) -> [String; 2] {
        ["read", "write"].map(|scope| format!("{}/{scope}", self.server))
    }
}

fn has_items(list: &Value, count: usize) -> bool {
    list.as_array().is_some_and(|items| items.len() == count)
}

fn is_rejected(verdict: &Value, reason: &str) -> bool {
    verdict["rejected"]["reason"] == format!("REJECTION_REASON_{reason}")
}
