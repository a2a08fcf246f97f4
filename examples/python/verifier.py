"""A service that lets in whom Keyward knows. It asks for each request; a verdict is fresh when it is given.

    pip install --requirement requirements.txt
    python -m grpc_tools.protoc --proto_path=../../proto --python_out=. --grpc_python_out=. ../../proto/keyward/v1/*.proto
    python verifier.py 127.0.0.1:7443 8080
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from keyward.v1 import verification_service_pb2 as contract
from keyward.v1 import verification_service_pb2_grpc as services

SCOPES = ["orders/read"]
FORBIDDEN = (contract.REJECTION_REASON_INSUFFICIENT_SCOPE, contract.REJECTION_REASON_WRONG_TENANT)


class Handler(BaseHTTPRequestHandler):
    verification = None

    def do_GET(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(self.headers.get_all("Authorization")) != 1:
            return self.answer(401, "", {"WWW-Authenticate": "Bearer"})
        request = contract.VerifyTokenRequest(token=token, required_scopes=SCOPES)
        try:
            verdict = self.verification.VerifyToken(request, timeout=2)
        except grpc.RpcError:
            # Nobody can tell, which is not that the token is bad. Never let it through.
            return self.answer(503, "", {"Retry-After": "1"})
        if verdict.WhichOneof("verdict") == "verified":
            return self.answer(200, f"hello {verdict.verified.client}", {})
        if verdict.rejected.reason in FORBIDDEN:
            return self.answer(403, "", {"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
        return self.answer(401, "", {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def answer(self, status, text, headers):
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing: a log of requests is not what this shows."""


def main(keyward="127.0.0.1:7443", port="8080"):
    Handler.verification = services.VerificationServiceStub(grpc.insecure_channel(keyward))
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()


main(*sys.argv[1:])
