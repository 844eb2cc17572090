import assert from "node:assert/strict";
import { test } from "node:test";
import { machinePath, socketUrl, terminalUrl } from "../../static/page/protocol.js";

test("an id is one part of a path, whatever is in it", () => {
  assert.equal(machinePath("a/../b?c"), "/machines/a%2F..%2Fb%3Fc");
  assert.equal(machinePath("x", "/start"), "/machines/x/start");
  assert.equal(terminalUrl("a&b"), "/terminal.html?machine=a%26b");
});

test("the WebSocket is as safe as the page, and says its size and whether a shell was lost", () => {
  const size = { cols: 80, rows: 24 };
  assert.equal(socketUrl({ protocol: "https:", host: "h:1" }, "x", size, false), "wss://h:1/machines/x/terminal?cols=80&rows=24");
  assert.equal(socketUrl({ protocol: "http:", host: "h" }, "x", size, true), "ws://h/machines/x/terminal?cols=80&rows=24&reconnect=1");
});
