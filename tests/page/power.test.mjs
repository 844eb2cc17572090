import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Power } from "../../static/page/power.js";
import { Status } from "../../static/page/status.js";
import { FakeClock, FakeNotice, settle } from "./fakes.mjs";

describe("power", () => {
  let clock, calls, status, notice, machine, connection, power;

  const failing = (message, code = 502) => async () => { throw Object.assign(new Error(message), { status: code }); };

  beforeEach(() => {
    [clock, calls, notice] = [new FakeClock(), [], new FakeNotice()];
    status = new Status(clock);
    status.on({ updated: (isChange) => { if (isChange) notice.hide(); } });
    machine = { start: async () => calls.push("start"), stop: async () => calls.push("stop"), peek: async () => ({ error: null }) };
    connection = { attempt: {}, connect: () => calls.push("connect"), close: () => { connection.attempt = null; } };
    const onRefusal = () => calls.push("refused"), onGone = () => calls.push("gone");
    power = new Power({ clock, machine, connection, status, notice, onGone, onRefusal });
    status.become("connected");
  });

  test("a stopped machine says why, and its notice starts it, once", async () => {
    power.stopped("Machine stopped by user.");
    assert.equal(notice.shown.text, "Machine stopped by user. Press Enter to start it.");
    notice.act();
    notice.act();
    assert.equal(status.pending, "Starting…");
    await settle();
    assert.deepEqual(calls, ["start", "connect"]);
    assert.equal(status.name, "starting");
  });

  test("a start that fails is told, and can be tried again", async () => {
    power.stopped(null);
    machine.start = failing("Fly is out of order");
    await power.toggle();
    assert.equal(notice.shown.text, "Fly is out of order Press Enter to start it.");
    assert.deepEqual([status.name, status.pending], ["stopped", null]);
    assert.ok(notice.canAct);
  });

  test("a machine that is gone is told at a start and at a stop", async () => {
    for (const act of ["start", "stop"]) {
      machine[act] = failing("there is no machine", 404);
      await power[act]();
      assert.deepEqual([status.name, notice.shown.text], ["gone", "there is no machine"]);
    }
    notice.act();
    assert.deepEqual(calls, ["gone"]);
  });

  test("with a connection the stop is pending until its close code comes", async () => {
    await power.toggle();
    assert.deepEqual([status.name, status.pending], ["connected", "Stopping…"]);
    power.stopped("Machine stopped by user.");
    assert.deepEqual([status.name, status.pending], ["stopped", null]);
  });

  test("without one the page itself says that it is stopped", async () => {
    status.become("reconnecting");
    connection.attempt = null;
    await power.toggle();
    assert.equal(status.name, "stopped");
    assert.equal(notice.shown.text, "You stopped the machine. Press Enter to start it.");
  });

  test("a stop that is refused at once is told", async () => {
    machine.stop = failing("Fly is out of order");
    await power.stop();
    assert.deepEqual([status.name, status.pending, notice.shown.text], ["connected", null, "Fly is out of order"]);
  });

  test("so is one that Fly refuses after it was answered", async () => {
    await power.stop();
    await clock.passSlowly(2_000);
    assert.equal(status.pending, "Stopping…");
    machine.peek = async () => ({ error: { message: "Fly did not stop it" } });
    await clock.passSlowly(1_000);
    assert.deepEqual([status.name, status.pending, notice.shown.text], ["connected", null, "Fly did not stop it"]);
    assert.deepEqual(calls, ["stop", "refused"]);
  });
});
