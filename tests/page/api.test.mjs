import assert from "node:assert/strict";
import { test } from "node:test";
import { Api } from "../../static/page/api.js";

const NOW = Date.parse("2030-01-01T00:00:00Z");

function answering(body, options = {}) {
  const calls = [];
  const fetch = async (path, request) => {
    calls.push({ path, ...request });
    return new Response(body, options);
  };
  return { calls, api: new Api({ fetch, now: () => NOW }) };
}

const failure = (call) => call.then(() => assert.fail("no error"), (error) => error);

test("a call sends JSON and returns JSON", async () => {
  const { api, calls } = answering('{"id":"x"}');
  assert.deepEqual(await api.call("POST", "/machines", { name: "demo" }), { id: "x" });
  const [{ path, method, headers, body, cache }] = calls;
  assert.deepEqual([path, method, headers, body, cache],
    ["/machines", "POST", { "Content-Type": "application/json" }, '{"name":"demo"}', "no-store"]);
});

test("a call without a body says nothing of its type", async () => {
  const { api, calls } = answering(null, { status: 204 });
  assert.equal(await api.call("DELETE", "/machines/x"), null);
  assert.deepEqual([calls[0].headers, calls[0].body], [undefined, undefined]);
});

test("an error is worded as the API worded it, with the field it is about", async () => {
  const options = { status: 400 };
  const named = answering('{"error":{"message":"must be lower-case","path":"name"}}', options);
  const error = await failure(named.api.call("POST", "/machines"));
  assert.deepEqual([error.message, error.status], ["name: must be lower-case", 400]);
  const plain = answering('{"error":{"message":"out of order"}}', options);
  assert.equal((await failure(plain.api.call("GET", "/"))).message, "out of order");
});

test("an answer of something else in between is told by its status", async () => {
  const { api } = answering("<html>", { status: 502, statusText: "Bad Gateway" });
  assert.equal((await failure(api.call("GET", "/"))).message, "The server answered 502 Bad Gateway");
});

test("a server that does not answer is told, with status 0", async () => {
  const api = new Api({ fetch: async () => { throw new TypeError("Failed to fetch"); }, now: () => NOW });
  const error = await failure(api.call("GET", "/machines"));
  assert.deepEqual([error.message, error.status], ["The aether server does not answer. Is it running, and are you online?", 0]);
});

test("the server's clock is told from its answers", async () => {
  const { api } = answering("{}", { headers: { Date: "Tue, 01 Jan 2030 00:05:00 GMT" } });
  assert.equal(api.serverNow(), NOW);
  await api.call("GET", "/machines");
  assert.equal(api.serverNow(), NOW + 300_000);
  const silent = answering("{}");
  await silent.api.call("GET", "/machines");
  assert.equal(silent.api.serverNow(), NOW);
});
