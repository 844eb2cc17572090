import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeIdleStop, describeMachine, describeProgress, describeProvider, describeSession, describeSize, describeSpan, describeStatus, describeStop,
} from "../../static/page/describe.js";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const FACTS = { status: "connected", waitedMs: 0, silenceMs: 0, roundTripMs: null, retryInMs: null, machineState: undefined, mentioned: "", held: 0 };
const status = (facts) => describeStatus({ ...FACTS, ...facts });

test("spans are told in minutes, hours and days", () => {
  const spans = [-1, 0, MINUTE - 1, MINUTE, 59 * MINUTE, HOUR, 47.9 * HOUR, 2 * DAY, 9.9 * DAY];
  assert.deepEqual(spans.map(describeSpan), ["< 1 min", "< 1 min", "< 1 min", "1 min", "59 min", "1 h", "47 h", "2 days", "9 days"]);
});

test("sizes are told in CPUs and memory", () => {
  assert.equal(describeSize({ cpu_kind: "shared", cpus: 1, memory_mb: 512 }), "1 shared CPU, 512 MB");
  assert.equal(describeSize({ cpu_kind: "performance", cpus: 2, memory_mb: 4096 }), "2 performance CPUs, 4 GB");
  assert.equal(describeSize({ cpu_kind: "shared", cpus: 4, memory_mb: 1536 }), "4 shared CPUs, 1.5 GB");
  assert.equal(describeSize(undefined), "–");
  assert.equal(describeSize({}), "–");
});

test("a machine's error comes first, then when it will stop", () => {
  const now = Date.parse("2030-01-01T00:00:00Z"), idle_stop_at = "2030-01-01T00:10:00Z";
  assert.equal(describeMachine({ error: { message: "out of order" }, idle_stop_at }, now), "out of order");
  assert.equal(describeMachine({ error: null, idle_stop_at }, now), "if unused, stops in 10 min");
  assert.equal(describeMachine({ error: null, idle_stop_at: null }, now), "");
});

test("connected: the round trip, or the silence once it is worth a word", () => {
  assert.equal(status({}), "");
  assert.equal(status({ roundTripMs: 0.4 }), "< 1 ms");
  assert.equal(status({ roundTripMs: 12.6 }), "13 ms");
  assert.equal(status({ roundTripMs: 12.6, silenceMs: 2000 }), "13 ms");
  assert.equal(status({ roundTripMs: 12.6, silenceMs: 3456 }), "no answer for 3 s");
});

test("connected: a word that is mentioned comes before the round trip", () => {
  assert.equal(status({ mentioned: "resumed", roundTripMs: 12.6 }), "resumed");
});

test("what waits for the line is counted", () => {
  assert.equal(status({ status: "reconnecting", held: 1 }), "now…, 1 character waits");
  assert.equal(status({ status: "restarting", retryInMs: 900, held: 1234 }), "in 1 s, 1,234 characters wait");
});

test("a session is told by its command, and by when it was used last", () => {
  const now = Date.parse("2030-01-01T00:03:00Z"), session = { command: "vim notes.txt", last_used_at: "2030-01-01T00:00:00Z" };
  assert.equal(describeSession({ ...session, is_attached: false }, now), "vim notes.txt, 3 min ago");
  assert.equal(describeSession({ ...session, is_attached: true }, now), "vim notes.txt, open now");
});

test("reconnecting and restarting: when the next attempt comes", () => {
  for (const name of ["reconnecting", "restarting"]) {
    assert.equal(status({ status: name, retryInMs: 4001 }), "in 5 s");
    assert.equal(status({ status: name, retryInMs: -3 }), "in 1 s");
    assert.equal(status({ status: name }), "now…");
  }
});

test("starting: the step and the seconds; connecting: once it takes two", () => {
  assert.equal(status({ status: "starting" }), "0 s");
  assert.equal(status({ status: "starting", machineState: "created", waitedMs: 1999 }), "getting a machine, 1 s");
  assert.equal(status({ status: "starting", machineState: "starting", waitedMs: 3000 }), "the machine boots, 3 s");
  assert.equal(status({ status: "starting", machineState: "running", waitedMs: 3000 }), "opening a shell, 3 s");
  assert.equal(status({ status: "connecting", waitedMs: 1999 }), "");
  assert.equal(status({ status: "connecting", waitedMs: 2000 }), "2 s");
  for (const name of ["stopped", "exited", "taken", "gone", "unavailable"]) assert.equal(status({ status: name, waitedMs: 9999 }), "");
});

test("progress, idle stops and stops", () => {
  assert.equal(describeProgress({ sent: 70_400, total: 1_838_890 }), "Pasting: 70 of 1,839 thousand characters.");
  assert.match(describeIdleStop(90_000), /^This machine is not in use, so it stops in 1 min; .* Press a key to keep it running\.$/);
  assert.equal(describeStop(null), "The machine is stopped. Press Enter to start it.");
  assert.equal(describeStop("machine x is stopped; start it with POST /machines/x/start"), "machine x is stopped. Press Enter to start it.");
});

test("local machines say what they are, those at Fly say nothing", () => {
  assert.equal(describeProvider({ machines: "containers on this computer" }), "The machines here are containers on this computer.");
  assert.equal(describeProvider({ machines: null }), "");
  assert.equal(describeProvider({}), "");
});
