import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { deliver } from "../../static/page/delivery.js";
import { Events } from "../../static/page/events.js";
import { HELD_BYTES, Outbox } from "../../static/page/outbox.js";
import { FakeClock, FakeNotice } from "./fakes.mjs";

describe("delivery", () => {
  let connection, outbox, notice, sent, shown;

  beforeEach(() => {
    [connection, notice, sent, shown] = [new Events(), new FakeNotice(), [], []];
    outbox = new Outbox({ clock: new FakeClock(), sendInput: (...input) => sent.push(input), sendPing: () => 1 });
    deliver({ connection, outbox, notice, undelivered: { show: (text) => { if (text) shown.push(text); } } });
    connection.emit("kept", { taken: 0 });
  });

  function typeWhileDown() {
    outbox.add("a");
    connection.emit("confirmed", { offset: 1 });
    connection.emit("interrupted");
    outbox.add("b");
  }

  test("a pong says what waits for the program, and the shell what it has taken", () => {
    outbox.add("a");
    connection.emit("pong", { number: 1, waiting: 7 });
    assert.deepEqual([outbox.waiting, outbox.untaken], [7, 1]);
    connection.emit("confirmed", { offset: 1 });
    assert.equal(outbox.untaken, 0);
  });

  test("what is typed while the line is down goes once to the same shell", () => {
    typeWhileDown();
    assert.equal(sent.length, 1);
    connection.emit("kept", { taken: 1 });
    assert.deepEqual([sent, shown], [[["a", 0], ["b", 1]], []]);
  });

  test("and is shown, and never sent, where it is another shell, open elsewhere, or has ended", () => {
    for (const event of ["replaced", "taken", "lost"]) {
      connection.emit("kept", { taken: 0 });
      typeWhileDown();
      sent.length = shown.length = 0;
      connection.emit(event);
      connection.emit("kept", { taken: 5 });
      assert.deepEqual([sent, shown], [[], ["b"]]);
      connection.emit("lost");
    }
  });

  test("the end of a shell forgets what it was sent in time", () => {
    outbox.add("exit\r");
    connection.emit("lost");
    assert.deepEqual(shown, []);
  });

  test("more than is kept for a line that is down is refused, and said", () => {
    connection.emit("interrupted");
    outbox.add("x".repeat(HELD_BYTES));
    assert.equal(notice.kind, null);
    outbox.add("x");
    assert.equal(notice.shown.text, "The connection is down, and 64 KiB wait for it: what is typed now is not taken.");
  });
});
