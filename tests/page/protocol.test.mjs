import assert from "node:assert/strict";
import { test } from "node:test";
import { machinePath, sessionPath, socketUrl, terminalUrl } from "../../static/page/protocol.js";

test("an id is one part of a path, whatever is in it", () => {
  assert.equal(machinePath("a/../b?c"), "/machines/a%2F..%2Fb%3Fc");
  assert.equal(machinePath("x", "/start"), "/machines/x/start");
  assert.equal(terminalUrl("a&b"), "/terminal.html?machine=a%26b");
});

test("a terminal's address may name a session, whose path is below its machine's", () => {
  assert.equal(terminalUrl("m", "s&t"), "/terminal.html?machine=m&session=s%26t");
  assert.equal(sessionPath("m", "s"), "/machines/m/sessions/s");
});

test("the WebSocket is as safe as the page, and says its size, its session, how far it has come and whether a shell was lost", () => {
  const size = { cols: 80, rows: 24 }, wish = { session: "s", client: "c", offset: null, isReconnect: false };
  const url = (page, more) => socketUrl(page, "x", size, { ...wish, ...more });
  assert.equal(url({ protocol: "https:", host: "h:1" }), "wss://h:1/machines/x/terminal?cols=80&rows=24&session=s&client=c");
  const page = { protocol: "http:", host: "h" }, base = "ws://h/machines/x/terminal?cols=80&rows=24&session=s&client=c";
  assert.equal(url(page, { offset: 0 }), `${base}&offset=0`);
  assert.equal(url(page, { isReconnect: true }), `${base}&reconnect=1`);
});
