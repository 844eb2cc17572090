import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../static/page/status.js";
import { FakeClock, listen } from "./fakes.mjs";

test("a status counts from when it began, and starting goes on from connecting", () => {
  const clock = new FakeClock(), status = new Status(clock);
  status.become("connecting");
  clock.pass(3_000);
  status.become("connecting");
  assert.equal(status.waitedMs, 3_000);
  status.become("starting");
  assert.equal(status.waitedMs, 3_000);
  status.become("connected");
  assert.equal(status.waitedMs, 0);
});

test("each report is told, and whether it is a change", () => {
  const status = new Status(new FakeClock()), seen = listen(status, "updated");
  status.become("connecting");
  status.become("connecting");
  status.wait("Stopping…");
  status.become("stopped");
  assert.deepEqual(seen, [["updated", true], ["updated", false], ["updated", false], ["updated", true]]);
});

test("a change ends what is pending, a repetition does not", () => {
  const status = new Status(new FakeClock());
  status.become("connected");
  status.wait("Stopping…");
  status.become("connected");
  assert.equal(status.pending, "Stopping…");
  status.become("stopped");
  assert.equal(status.pending, null);
  assert.ok(status.is("gone", "stopped") && !status.is("gone"));
});

test("a word is mentioned for four seconds, or until the status changes", () => {
  const clock = new FakeClock(), status = new Status(clock), seen = listen(status, "updated");
  status.become("connected");
  status.mention("resumed");
  clock.pass(3_999);
  assert.equal(status.mentioned, "resumed");
  clock.pass(1);
  assert.equal(status.mentioned, "");
  assert.deepEqual(seen, [["updated", true], ["updated", false], ["updated", false]]);
  status.mention("resumed");
  status.become("reconnecting");
  assert.equal(status.mentioned, "");
});
