import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Watchdog } from "../../static/page/watchdog.js";
import { FakeClock } from "./fakes.mjs";

describe("watchdog", () => {
  let clock, pings, deaths, changes, watchdog;

  beforeEach(() => {
    [clock, pings, deaths, changes] = [new FakeClock(), 0, 0, 0];
    const onDead = () => { deaths += 1; watchdog.stop(); };
    watchdog = new Watchdog({ clock, sendPing: () => ++pings, onDead, onChange: () => { changes += 1; } });
  });

  test("a ping goes every five seconds", () => {
    watchdog.watch();
    for (let count = 1; count <= 4; count += 1) {
      clock.pass(5_000);
      watchdog.heard();
      assert.equal(pings, count);
    }
    assert.equal(deaths, 0);
  });

  test("two pings in a row without any message end the connection when the third is due", () => {
    watchdog.watch();
    clock.pass(14_999);
    assert.deepEqual([pings, deaths], [2, 0]);
    clock.pass(1);
    assert.deepEqual([pings, deaths], [2, 1]);
  });

  test("any message in between breaks the silence", () => {
    watchdog.watch();
    clock.pass(12_000);
    watchdog.heard();
    clock.pass(12_000);
    assert.equal(deaths, 0);
    assert.equal(watchdog.silences, 2);
  });

  test("a sleep of any length makes one silence, not a death", () => {
    watchdog.watch();
    clock.sleep(3_600_000);
    assert.equal(watchdog.silences, 1);
    assert.equal(deaths, 0);
  });

  test("a timer that comes late, when an answer may wait unread, asks once more", () => {
    watchdog.hurry();
    clock.sleep(10_000);
    assert.deepEqual([pings, deaths], [2, 0]);
    watchdog.heard();
    clock.pass(5_000);
    assert.equal(deaths, 0);
  });

  test("a page that is suspended again and again gives up all the same", () => {
    watchdog.hurry();
    clock.sleep(10_000);
    clock.sleep(10_000);
    assert.equal(deaths, 1);
  });

  test("after a wake-up one unanswered ping is enough, and eight seconds", () => {
    watchdog.hurry();
    clock.pass(7_999);
    assert.deepEqual([pings, deaths], [1, 0]);
    clock.pass(1);
    assert.equal(deaths, 1);
  });

  test("a connection that answers after a wake-up is kept", () => {
    watchdog.hurry();
    clock.pass(3_000);
    watchdog.heard();
    clock.pass(8_000);
    assert.equal(deaths, 0);
  });

  test("the round trip is that of the last ping", () => {
    watchdog.ask();
    clock.pass(1_000);
    watchdog.ask();
    clock.pass(20);
    watchdog.answered(1);
    assert.equal(watchdog.roundTripMs, null);
    watchdog.answered(2);
    assert.equal(watchdog.roundTripMs, 20);
    assert.equal(changes, 3);
  });

  test("silence is counted from the first unanswered ping", () => {
    assert.equal(watchdog.silenceMs, 0);
    watchdog.ask();
    clock.pass(5_000);
    watchdog.ask();
    clock.pass(1_000);
    assert.equal(watchdog.silenceMs, 6_000);
    watchdog.heard();
    assert.equal(watchdog.silenceMs, 0);
  });

  test("a stopped one asks nothing and has forgotten all", () => {
    watchdog.ask();
    watchdog.answered(1);
    watchdog.watch();
    watchdog.stop();
    clock.pass(60_000);
    assert.deepEqual([pings, deaths, watchdog.silences, watchdog.roundTripMs], [1, 0, 0, null]);
  });
});
