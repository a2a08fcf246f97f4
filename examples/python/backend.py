"""A tenant's backend that calls a service with a token that is always fresh.

    pip install --requirement requirements.txt
    python -m grpc_tools.protoc --proto_path=../../proto --python_out=. --grpc_python_out=. ../../proto/keyward/v1/*.proto
    python backend.py 127.0.0.1:7443 tenants/acme/clients/orders http://127.0.0.1:8080/orders
"""

import random
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from keyward.v1 import token_service_pb2 as contract
from keyward.v1 import token_service_pb2_grpc as services


class TokenSource:
    """Follows WatchToken and holds the last token that came, until it has expired."""

    def __init__(self, channel, client):
        self._service = services.TokenServiceStub(channel)
        self._request = contract.WatchTokenRequest(name=client)
        self._changed = threading.Condition()
        self._token = None
        self._expires = 0.0
        threading.Thread(target=self._follow, daemon=True).start()

    def token(self, timeout=10):
        """The token of the moment; waits for one, and fails with TimeoutError where none comes."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._token and time.time() < self._expires, timeout):
                raise TimeoutError("there is no token")
            return self._token

    def _follow(self):
        wait = 0.1
        while True:
            try:
                for message in self._service.WatchToken(self._request):
                    self._hold(message.access_token, message.expire_time.ToDatetime().timestamp())
                    wait = 0.1
            except grpc.RpcError as error:
                # Where the broker refuses, as for a tenant that is suspended, the old token is good for nothing.
                if error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED):
                    self._hold(None, 0.0)
                print(f"the stream has ended: {error.code().name}", file=sys.stderr)
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, 10)

    def _hold(self, token, expires):
        with self._changed:
            self._token, self._expires = token, expires
            self._changed.notify_all()


def main(keyward="127.0.0.1:7443", client="tenants/acme/clients/orders", url="http://127.0.0.1:8080/orders"):
    # For another machine: grpc.secure_channel, with the certificate by which the broker knows the caller.
    source = TokenSource(grpc.insecure_channel(keyward), client)
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {source.token()}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as refusal:
        print(refusal.code)


main(*sys.argv[1:])
