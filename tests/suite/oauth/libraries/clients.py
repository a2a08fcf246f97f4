"""Asks the OAuth 2.0 front as Authlib and requests-oauthlib do. Told by standard input, tells by standard output, in JSON."""

import json
import sys

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

told = json.load(sys.stdin)
endpoint = told["url"] + "/oauth2/token"
login = told["client_id"], told["client_secret"]
answers = {}
refusals = {}


def authlib(client_id, client_secret, method, scope=None):
    session = AuthlibSession(client_id, client_secret, token_endpoint_auth_method=method, scope=scope)
    session.verify = told["authority"]
    session.trust_env = False
    return session


def by_authlib(client_id, client_secret, method, scope=None):
    return authlib(client_id, client_secret, method, scope).fetch_token(endpoint, grant_type="client_credentials")


def by_requests_oauthlib(client_id, scope=None, **how):
    session = OAuth2Session(client=BackendApplicationClient(client_id=client_id, scope=scope))
    session.trust_env = False
    return session.fetch_token(token_url=endpoint, verify=told["authority"], **how)


answers["authlib_basic"] = by_authlib(*login, "client_secret_basic")
answers["authlib_post"] = by_authlib(*login, "client_secret_post")
answers["authlib_narrowed"] = by_authlib(*login, "client_secret_basic", "orders/read")["scope"]
answers["requests_oauthlib_basic"] = by_requests_oauthlib(login[0], auth=HTTPBasicAuth(*login))
answers["requests_oauthlib_post"] = by_requests_oauthlib(login[0], client_secret=login[1], include_client_id=True)

verifier = authlib(told["verifier_id"], told["verifier_secret"], "client_secret_basic")
introspect = told["url"] + "/oauth2/introspect"
token = answers["authlib_basic"]["access_token"]
answers["authlib_introspected"] = verifier.introspect_token(introspect, token=token).json()
answers["authlib_of_nonsense"] = verifier.introspect_token(introspect, token="nonsense").json()

for name, arguments in {
    "authlib_secret": (login[0], "wrong", "client_secret_basic"),
    "authlib_scope": (*login, "client_secret_basic", "orders/delete"),
}.items():
    try:
        by_authlib(*arguments)
    except OAuthError as error:
        refusals[name] = error.error
for name, client_secret, scope in (
    ("requests_oauthlib_secret", "wrong", None),
    ("requests_oauthlib_scope", login[1], ["orders/delete"]),
):
    try:
        by_requests_oauthlib(login[0], scope, auth=HTTPBasicAuth(login[0], client_secret))
    except OAuth2Error as error:
        refusals[name] = type(error).__name__

json.dump({**answers, "refusals": refusals}, sys.stdout)
