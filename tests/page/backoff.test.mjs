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

const KEPT = { isKept: true, hintMs: null };

test("a shell that waits is asked for every two seconds at most, for two minutes", () => {
  const clock = new FakeClock(), backoff = new Backoff({ clock, random: () => 1 });
  assert.deepEqual([1006, 1006, 1006, 1006, 1012].map((code) => backoff.next(code, KEPT)), [500, 1000, 2000, 2000, 2000]);
  clock.pass(119_999);
  assert.equal(backoff.next(1006, KEPT), 2000);
  clock.pass(1);
  assert.equal(backoff.next(1006, KEPT), 15000);
  backoff.connected();
  backoff.disconnected();
  assert.equal(backoff.next(1006, KEPT), 2000);
});

test("full jitter takes any part of that, too", () => {
  const backoff = new Backoff({ clock: new FakeClock(), random: () => 0.25 });
  assert.deepEqual([1012, 1006].map((code) => backoff.next(code, KEPT)), [500, 250]);
});

test("a limit spreads also those whose shells wait", () => {
  const backoff = new Backoff({ clock: new FakeClock(), random: () => 1 });
  assert.equal(backoff.next(4429, KEPT), 5000);
});

test("where the server says when it is back, the first attempt is around that, and not later than two seconds", () => {
  const luck = [0, 0.5, 1, 1], backoff = new Backoff({ clock: new FakeClock(), random: () => luck.shift() });
  const delays = [1000, 1000, 1000, 9000].map((hintMs) => backoff.next(1012, { isKept: true, hintMs }));
  assert.deepEqual(delays, [500, 1000, 1500, 2000]);
  const plain = new Backoff({ clock: new FakeClock(), random: () => 1 });
  assert.equal(plain.next(1012, { isKept: false, hintMs: 1000 }), 5000);
});

test("a handshake has fifteen seconds; one to a shell that waits less, and each that hung in a row twice the time", () => {
  const backoff = new Backoff({ clock: new FakeClock(), random: () => 1 });
  assert.equal(backoff.patienceMs(false), 15000);
  backoff.answered();
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.patienceMs(true)), [2500, 5000, 10000, 15000, 15000]);
  backoff.answered();
  assert.equal(backoff.patienceMs(true), 2500);
});
