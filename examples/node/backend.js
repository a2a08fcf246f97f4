'use strict';
// A tenant's backend that calls a service with a token that is always fresh.
//
//     npm ci
//     node backend.js 127.0.0.1:7443 tenants/acme/clients/orders http://127.0.0.1:8080/orders

const { grpc, load, credentials } = require('./keyward');

// Follows WatchToken and holds the last token that came, until it has expired.
class TokenSource {
  constructor(address, client) {
    const { TokenService } = load('token_service.proto');
    this.service = new TokenService(address, credentials);
    this.client = client;
    this.waiting = [];
    this.wait = 100;
    this.follow();
  }

  // The token of the moment; waits for one, and fails where none comes.
  token(timeout = 10_000) {
    if (this.held && Date.now() < this.expires) return Promise.resolve(this.held);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('there is no token')), timeout);
      this.waiting.push((token) => {
        clearTimeout(timer);
        resolve(token);
      });
    });
  }

  follow() {
    const stream = this.service.WatchToken({ name: this.client });
    stream.on('data', (message) => {
      this.held = message.access_token;
      this.expires = Number(message.expire_time.seconds) * 1000;
      this.wait = 100;
      for (const resolve of this.waiting.splice(0)) resolve(this.held);
    });
    stream.on('error', (error) => {
      // Where the broker refuses, as for a tenant that is suspended, the old token is good for nothing.
      const refusals = [grpc.status.FAILED_PRECONDITION, grpc.status.PERMISSION_DENIED];
      if (refusals.includes(error.code)) this.held = undefined;
      console.error(`the stream has ended: ${grpc.status[error.code]}`);
      setTimeout(() => this.follow(), this.wait * (0.5 + Math.random() / 2));
      this.wait = Math.min(2 * this.wait, 10_000);
    });
  }
}

async function main(
  keyward = '127.0.0.1:7443',
  client = 'tenants/acme/clients/orders',
  url = 'http://127.0.0.1:8080/orders',
) {
  const source = new TokenSource(keyward, client);
  const answer = await fetch(url, { headers: { authorization: `Bearer ${await source.token()}` } });
  console.log(answer.status, await answer.text());
  process.exit(0);
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
