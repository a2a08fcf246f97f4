'use strict';
// The contract, read from the .proto files: there is nothing to generate.

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const PROTO = process.env.KEYWARD_PROTO || path.join(__dirname, '..', '..', 'proto');

function load(file) {
  const options = { includeDirs: [PROTO], keepCase: true, longs: String, enums: String, oneofs: true };
  return grpc.loadPackageDefinition(loader.loadSync(path.join('keyward', 'v1', file), options)).keyward.v1;
}

// For another machine: grpc.credentials.createSsl, with the certificate by which the broker knows the caller.
module.exports = { grpc, load, credentials: grpc.credentials.createInsecure() };
