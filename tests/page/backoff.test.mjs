import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../static/page/backoff.js";
import { FakeClock } from "./fakes.mjs";

const FULL = [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000];

function delays(code, luck) {
  const backoff = new Backoff({ clock: new FakeClock(), random: () => luck });
  return FULL.map(() => backoff.next(code));
}

test("the delays double from 0.5 s to 15 s, and full jitter takes any part of them", () => {
  assert.deepEqual(delays(1006, 1), FULL);
  assert.deepEqual(delays(1006, 0.5), FULL.map((delay) => delay / 2));
  assert.deepEqual(delays(1006, 0), FULL.map(() => 0));
});

test("after a restart and at a limit they are up to 5 s from the first time on", () => {
  for (const code of [1012, 4429]) assert.deepEqual(delays(code, 1), FULL.map((delay) => Math.max(delay, 5000)));
});

test("only a connection that lasts ten seconds makes the delays short again", () => {
  const clock = new FakeClock(), backoff = new Backoff({ clock, random: () => 1 });
  for (let attempt = 0; attempt < 5; attempt += 1) backoff.next(1006);
  backoff.connected();
  clock.pass(9_999);
  assert.equal(backoff.attempts, 5);
  clock.pass(1);
  assert.equal(backoff.attempts, 0);
});

test("a connection that is lost before that does not", () => {
  const clock = new FakeClock(), backoff = new Backoff({ clock, random: () => 1 });
  backoff.next(1006);
  backoff.connected();
  clock.pass(5_000);
  backoff.disconnected();
  clock.pass(60_000);
  assert.equal(backoff.attempts, 1);
});
