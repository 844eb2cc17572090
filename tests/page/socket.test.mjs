import assert from "node:assert/strict";
import { test } from "node:test";
import { TerminalSocket } from "../../static/page/socket.js";
import { FakeClock, FakeSocket } from "./fakes.mjs";

function open() {
  const raw = new FakeSocket(), seen = [], clock = new FakeClock();
  const note = (name) => (...values) => seen.push([name, ...values]);
  const socket = new TerminalSocket(raw, { clock, opened: () => seen.push(["opened"]), received: note("received"), closed: note("closed") });
  return { raw, seen, socket, clock };
}

test("events come as opened, messages and a close code with its reason", () => {
  const { raw, seen, socket } = open();
  assert.ok(socket.isConnecting);
  raw.open();
  assert.ok(socket.isOpen);
  raw.receive({ type: "pong", number: 1 });
  raw.onmessage({ data: "no JSON" });
  raw.end(1012, "restart");
  assert.deepEqual(seen, [["opened"], ["received", { type: "pong", number: 1 }], ["closed", 1012, "restart"]]);
});

test("what is drawn is acknowledged in bytes of UTF-8, 16 KiB at a time", () => {
  const { raw, socket } = open();
  raw.open();
  socket.drawn("日".repeat(5461));   // 16,383 bytes
  assert.deepEqual(raw.sent, []);
  socket.drawn("x");
  assert.deepEqual(raw.sent, [{ type: "ack", bytes: 16384 }]);
  socket.drawn("🐢".repeat(5000));
  assert.deepEqual(raw.sent.at(-1), { type: "ack", bytes: 20000 });
});

test("a little of it is acknowledged within a tenth of a second, once", () => {
  const { raw, socket, clock } = open();
  raw.open();
  socket.drawn("abc");
  clock.pass(60);
  socket.drawn("d");
  clock.pass(39);
  assert.deepEqual(raw.sent, []);
  clock.pass(1);
  assert.deepEqual(raw.sent, [{ type: "ack", bytes: 4 }]);
  clock.pass(1_000);
  socket.drawn("e");
  socket.acknowledge();
  clock.pass(1_000);
  assert.deepEqual(raw.sent.slice(1), [{ type: "ack", bytes: 1 }]);
});

test("a closed socket sends nothing, says nothing and is closed once", () => {
  const { raw, seen, socket } = open();
  raw.open();
  socket.close();
  assert.equal(raw.readyState, 2);
  socket.drawn("x".repeat(1 << 15));
  socket.send({ type: "ping", number: 1 });
  raw.receive({ type: "output", data: "late" });
  raw.end(1000);
  assert.deepEqual(raw.sent, []);
  assert.deepEqual(seen, [["opened"]]);
});
