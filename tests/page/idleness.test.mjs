import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Events } from "../../static/page/events.js";
import { Idleness } from "../../static/page/idleness.js";
import { FakeClock, FakeNotice, settle } from "./fakes.mjs";

describe("idleness", () => {
  const START = Date.parse("2030-01-01T00:00:00Z");
  const MINUTE = 60_000;
  let clock, connection, notice, machine, looks, isHidden, lastActivityAt, idleMs;

  beforeEach(() => {
    [clock, connection, notice, looks, isHidden] = [new FakeClock(), new Events(), new FakeNotice(), 0, false];
    [lastActivityAt, idleMs] = [START, 10 * MINUTE];
    const serverNow = () => START + clock.now();
    const iso = (at) => new Date(at).toISOString();
    machine = {
      json: null, take(json) { this.json = json; },
      peek: async () => { looks += 1; return { last_activity_at: iso(lastActivityAt), idle_stop_at: idleMs && iso(lastActivityAt + idleMs) }; },
    };
    new Idleness({ clock, api: { serverNow }, machine, connection, notice, isHidden: () => isHidden });
  });

  async function attach() {
    connection.shell = {};
    connection.emit("attached");
    await settle();
  }

  test("a stop in less than two minutes is announced, and counted down", async () => {
    await attach();
    await clock.passSlowly(7.9 * MINUTE);
    assert.equal(notice.kind, null);
    await clock.passSlowly(0.6 * MINUTE);
    assert.match(notice.shown.text, /stops in 1 min/);
    await clock.passSlowly(MINUTE);
    assert.match(notice.shown.text, /stops in < 1 min/);
  });

  test("a machine that is used again takes its warning away", async () => {
    await attach();
    await clock.passSlowly(9 * MINUTE);
    lastActivityAt = START + clock.now();
    await clock.passSlowly(0.5 * MINUTE);
    assert.equal(notice.kind, null);
  });

  test("a warning that was dismissed does not come back for the same stop, but for the next", async () => {
    await attach();
    await clock.passSlowly(9 * MINUTE);
    notice.act();
    await clock.passSlowly(0.5 * MINUTE);
    assert.equal(notice.kind, null);
    lastActivityAt += MINUTE;
    await clock.passSlowly(0.5 * MINUTE);
    assert.equal(notice.kind, "idle");
  });

  test("another notice is not covered", async () => {
    await attach();
    notice.show({ kind: "paste", text: "Pasting" });
    await clock.passSlowly(9 * MINUTE);
    assert.equal(notice.kind, "paste");
  });

  test("a short time of idleness is looked at, and warned of, in proportion", async () => {
    idleMs = MINUTE;
    await attach();
    const before = looks;
    await clock.passSlowly(30_000);
    assert.equal(looks - before, 3);
    assert.equal(notice.kind, null);
    await clock.passSlowly(20_000);
    assert.equal(notice.kind, "idle");
  });

  test("a page that cannot be seen asks nothing; nor does one without a shell", async () => {
    isHidden = true;
    await attach();
    await clock.passSlowly(2 * MINUTE);
    assert.equal(looks, 0);
    isHidden = false;
    await clock.passSlowly(MINUTE);
    assert.equal(looks, 2);
    connection.shell = null;
    connection.emit("detached");
    await clock.passSlowly(5 * MINUTE);
    assert.equal(looks, 2);
  });

  test("machines that never stop by themselves are only looked at", async () => {
    idleMs = 0;
    await attach();
    await clock.passSlowly(60 * MINUTE);
    assert.equal(notice.kind, null);
  });
});
