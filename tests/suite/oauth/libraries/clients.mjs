// Asks the OAuth 2.0 front as openid-client does, and verifies what it gives with aws-jwt-verify. Told by standard input,
// tells by standard output, in JSON.

import { readFileSync } from "node:fs";

import { CognitoJwtVerifier } from "aws-jwt-verify";
import { SimpleFetcher } from "aws-jwt-verify/https";
import { SimpleJwksCache } from "aws-jwt-verify/jwk";
import * as client from "openid-client";

const told = JSON.parse(readFileSync(0, "utf8"));
const url = new URL(told.url);
const answers = { refusals: {}, not_verified: {} };

const find = (id, authentication) =>
  client.discovery(url, id, undefined, authentication, { algorithm: "oauth2" });
const ask = async (secret, authentication, parameters) =>
  client.clientCredentialsGrant(await find(told.client_id, authentication(secret)), parameters);

answers.basic = await ask(told.client_secret, client.ClientSecretBasic);
answers.post = await ask(told.client_secret, client.ClientSecretPost);
const verifier = await find(told.verifier_id, client.ClientSecretBasic(told.verifier_secret));
answers.issuer = verifier.serverMetadata().issuer;
answers.introspected = await client.tokenIntrospection(verifier, answers.basic.access_token);
answers.of_nonsense = await client.tokenIntrospection(verifier, "nonsense");
for (const [name, secret, parameters] of [
  ["secret", "wrong", {}],
  ["scope", told.client_secret, { scope: "orders/delete" }],
]) {
  try {
    await ask(secret, client.ClientSecretPost, parameters);
  } catch (error) {
    answers.refusals[name] = error.error ?? String(error);
  }
}

// As a service would that verifies Cognito's tokens, with the keys from here instead of from there.
const token = answers.basic.access_token;
const userPoolId = new URL(JSON.parse(Buffer.from(token.split(".")[1], "base64url")).iss).pathname.slice(1);
const keys = `${told.url}/${told.pool}/.well-known/jwks.json`;
const fetcher = { fetch: () => new SimpleFetcher().fetch(keys) };
const verify = (text, properties) => {
  const wanted = { userPoolId, tokenUse: "access", clientId: told.client_id, scope: told.scopes, ...properties };
  return CognitoJwtVerifier.create(wanted, { jwksCache: new SimpleJwksCache({ fetcher }) }).verify(text);
};
answers.verified = await verify(token);
const [head, claims, signature] = token.split(".");
for (const [name, text, properties] of [
  ["changed", [head, claims, [...signature].reverse().join("")].join("."), {}],
  ["of_another_pool", token, { userPoolId: userPoolId.split("_")[0] + "_AAAAAAAAA" }],
  ["of_another_client", token, { clientId: told.verifier_id }],
  ["for_another_scope", token, { scope: "orders/delete" }],
]) {
  try {
    await verify(text, properties);
  } catch (error) {
    answers.not_verified[name] = error.constructor.name;
  }
}

process.stdout.write(JSON.stringify(answers));
