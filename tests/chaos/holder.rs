//! A backend service that fetches its tokens by itself, past the brokers, with what the vault has for it.

use serde_json::Value;

use crate::fake::{Fake, REGION, signing};
use crate::peers::Sdk;

/// App client id and secret, as under `AWSCURRENT`.
pub struct Holder {
    pub id: String,
    pub secret: String,
    endpoint: String,
    http: reqwest::Client,
}

impl Holder {
    /// Of the client of this resource name.
    pub async fn of(fake: &Fake, client: &str) -> Holder {
        let sdk = Sdk::new(&fake.endpoint(), REGION, signing::ACCESS_KEY_ID, signing::SECRET_ACCESS_KEY);
        let read = sdk.secrets.get_secret_value().secret_id(format!("keyward/{client}")).version_stage("AWSCURRENT");
        let read = read.send().await.unwrap_or_else(|error| panic!("{client}: {error:?}"));
        let document: Value = serde_json::from_str(read.secret_string().expect("text")).expect("JSON");
        let text =
            |member: &str| document[member].as_str().unwrap_or_else(|| panic!("{client}: no {member}")).to_owned();
        Holder {
            id: text("client_id"),
            secret: text("client_secret"),
            endpoint: format!("{}/oauth2/token", fake.endpoint()),
            http: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"),
        }
    }

    /// A token that nobody has seen. Fails with what the endpoint says.
    pub async fn fetch(&self) -> Result<String, String> {
        let ask = self.http.post(&self.endpoint).basic_auth(&self.id, Some(&self.secret));
        let ask = ask.header("content-type", "application/x-www-form-urlencoded").body("grant_type=client_credentials");
        let answer = ask.send().await.expect("an answer");
        let is_given = answer.status().is_success();
        let text = answer.text().await.expect("its text");
        if !is_given {
            return Err(text);
        }
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        Ok(answer["access_token"].as_str().expect("a token").to_owned())
    }
}
