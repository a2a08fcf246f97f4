// Holds each object of a list against the schemas of Istio's custom resources.

import { readFileSync } from 'node:fs';
import { AuthorizationPolicy, RequestAuthentication } from '@kubernetes-models/istio/security.istio.io/v1/index';

const kinds = { AuthorizationPolicy, RequestAuthentication };
const { items } = JSON.parse(readFileSync(0, 'utf8'));
for (const item of items) {
  if (item.apiVersion !== 'security.istio.io/v1') throw new Error(`another version: ${item.apiVersion}`);
  new kinds[item.kind](item).validate();
}
console.log(items.map((item) => item.kind).join(' '));
