'use strict';
// A service that lets in whom Keyward knows. It asks for each request; a verdict is fresh when it is given.
//
//     npm ci
//     node verifier.js 127.0.0.1:7443 8080

const http = require('node:http');
const { load, credentials } = require('./keyward');

const SCOPES = ['orders/read'];
const FORBIDDEN = ['REJECTION_REASON_INSUFFICIENT_SCOPE', 'REJECTION_REASON_WRONG_TENANT'];

function main(keyward = '127.0.0.1:7443', port = '8080') {
  const { VerificationService } = load('verification_service.proto');
  const verification = new VerificationService(keyward, credentials);

  const server = http.createServer((request, response) => {
    const answer = (status, headers, text = '') => response.writeHead(status, headers).end(text);
    const values = request.headersDistinct.authorization || [];
    const token = values.length === 1 && /^bearer +(\S+)$/i.exec(values[0])?.[1];
    if (!token) return answer(401, { 'www-authenticate': 'Bearer' });
    const deadline = Date.now() + 2_000;
    verification.VerifyToken({ token, required_scopes: SCOPES }, { deadline }, (error, verdict) => {
      // Nobody can tell, which is not that the token is bad. Never let it through.
      if (error) return answer(503, { 'retry-after': '1' });
      if (verdict.verified) return answer(200, {}, `hello ${verdict.verified.client}`);
      if (FORBIDDEN.includes(verdict.rejected.reason)) {
        return answer(403, { 'www-authenticate': 'Bearer error="insufficient_scope"' });
      }
      return answer(401, { 'www-authenticate': 'Bearer error="invalid_token"' });
    });
  });
  server.listen(Number(port), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
}

main(...process.argv.slice(2));
