import assert from "node:assert/strict";
import { test } from "node:test";
import { browserClock, sleep, Timer } from "../../static/page/clock.js";
import { FakeClock } from "./fakes.mjs";

test("a timer does what it was told last, unless it is stopped", () => {
  const clock = new FakeClock(), timer = new Timer(clock), done = [];
  timer.stop();
  timer.start(() => done.push("first"), 100);
  timer.start(() => done.push("second"), 200);
  clock.pass(1_000);
  assert.deepEqual(done, ["second"]);
  timer.start(() => done.push("third"), 100);
  timer.stop();
  clock.pass(1_000);
  assert.deepEqual(done, ["second"]);
});

test("the browser's clock goes forward, and wakes who sleeps", async () => {
  const before = browserClock.now();
  browserClock.clearTimeout(browserClock.setTimeout(() => assert.fail("was stopped"), 0));
  await sleep(browserClock, 2);
  assert.ok(browserClock.now() > before);
});
