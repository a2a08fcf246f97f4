//! The fake itself, driven by the real SDK and by reqwest.

mod agreement;
mod app_clients;
mod authorize;
mod behaviour;
mod pools;
mod protocol;
mod quotas;
mod tokens;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cognitoidentityprovider::operation::create_user_pool_client::builders::CreateUserPoolClientFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{OAuthFlowType, ResourceServerScopeType};
use keyward::runtime::clock::ManualClock;
use serde_json::Value;

use crate::fake::signing::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::fake::{Fake, REGION};
use crate::harness::start_time;
use crate::peers::Sdk;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const VALUE: &str = "first_secret_of_24_to_64_characters";
const SECOND_VALUE: &str = "second_secret_of_24_to_64_characters";

/// A fake, its clock, and the SDK for it.
struct Stage {
    fake: Fake,
    clock: ManualClock,
    sdk: Sdk,
}

impl Stage {
    async fn set() -> Stage {
        let clock = ManualClock::new(start_time());
        let fake = Fake::start(Arc::new(clock.clone())).await;
        let sdk = sdk_in(&fake, REGION);
        Stage { fake, clock, sdk }
    }

    async fn pool(&self) -> String {
        pool(&self.sdk, "shared").await
    }

    /// A pool with a domain, the orders API and one app client; ids of the pool and of the client.
    async fn client(&self) -> (String, String) {
        let pool = self.pool().await;
        let domain = self.sdk.cognito.create_user_pool_domain().user_pool_id(&pool).domain("keyward-shared");
        domain.send().await.expect("a domain");
        put_api(&self.sdk, &pool).await;
        let client = machine(&self.sdk, &pool, "orders").client_secret(VALUE).send().await.expect("an app client");
        let id = client.user_pool_client().and_then(|client| client.client_id()).expect("an id").to_owned();
        (pool, id)
    }

    /// Status and body of an answer of the token endpoint.
    async fn token(&self, client: &str, secret: &str, scope: &str) -> (u16, Value) {
        let form = format!("grant_type=client_credentials&scope={}", scope.replace('/', "%2F").replace(' ', "+"));
        let request = http().post(format!("{}/oauth2/token", self.fake.endpoint())).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.basic_auth(client, Some(secret)).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON"))
    }
}

fn sdk_in(fake: &Fake, region: &str) -> Sdk {
    Sdk::new(&fake.endpoint(), region, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("an HTTP client")
}

async fn pool(sdk: &Sdk, name: &str) -> String {
    let made = sdk.cognito.create_user_pool().pool_name(name).send().await.expect("a pool");
    made.user_pool().and_then(|pool| pool.id()).expect("an id").to_owned()
}

/// The scopes `orders/read` and `orders/write`.
async fn put_api(sdk: &Sdk, pool: &str) {
    let server = sdk.cognito.create_resource_server().user_pool_id(pool).identifier("orders").name("Orders");
    server.scopes(scope("read")).scopes(scope("write")).send().await.expect("a resource server");
}

fn scope(name: &str) -> ResourceServerScopeType {
    ResourceServerScopeType::builder().scope_name(name).scope_description(name).build().expect("a scope")
}

/// An app client for client credentials with both scopes.
fn machine(sdk: &Sdk, pool: &str, name: &str) -> CreateUserPoolClientFluentBuilder {
    let client = sdk.cognito.create_user_pool_client().user_pool_id(pool).client_name(name);
    let client = client.allowed_o_auth_flows_user_pool_client(true);
    let client = client.allowed_o_auth_flows(OAuthFlowType::ClientCredentials);
    client.allowed_o_auth_scopes("orders/read").allowed_o_auth_scopes("orders/write")
}
