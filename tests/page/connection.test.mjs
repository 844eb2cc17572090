import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Connection } from "../../static/page/connection.js";
import { FakeClock, FakeSession, FakeSocket, listen } from "./fakes.mjs";

describe("connection", () => {
  let clock, luck, session, sockets, connection, ends;

  beforeEach(() => {
    [clock, luck, session, sockets] = [new FakeClock(), 1, new FakeSession(), []];
    const openSocket = (wish) => {
      sockets.push(new FakeSocket(wish));
      return sockets.at(-1);
    };
    connection = new Connection({ clock, random: () => luck, session, openSocket });
    ends = listen(connection, "lost", "exited", "stopped", "gone", "retrying");
  });

  const socket = () => sockets.at(-1);

  // Connect until a shell is attached.
  function attach() {
    connection.connect();
    socket().open();
    socket().receive({ type: "output", data: "$ " });
  }

  test("a socket is opened, and its first output attaches the shell", () => {
    const seen = listen(connection, "detached", "connecting", "begun", "attached", "output");
    connection.connect();
    assert.equal(connection.isOpen, false);
    socket().open();
    assert.equal(connection.isOpen, true);
    assert.equal(connection.shell, null);
    socket().receive({ type: "output", data: "$ " });
    assert.ok(connection.isAttached);
    assert.notEqual(connection.shell, null);
    socket().receive({ type: "output", data: "x" });
    assert.deepEqual(seen.map(([name]) => name), ["detached", "connecting", "begun", "attached", "output", "output"]);
    assert.equal(seen.at(-1)[1], "x");
  });

  test("nothing is sent to a shell before it is attached", () => {
    connection.send({ type: "input", data: "a" });
    connection.connect();
    connection.send({ type: "input", data: "b" });
    socket().open();
    connection.send({ type: "input", data: "c" });
    socket().receive({ type: "output", data: "$ " });
    connection.send({ type: "input", data: "d" });
    assert.deepEqual(socket().ofType("input"), [{ type: "input", data: "d" }]);
  });

  test("the server is told at once that this page acknowledges", () => {
    connection.connect();
    socket().open();
    assert.deepEqual(socket().sent, [{ type: "ack", bytes: 0 }]);
  });

  test("an attached shell is pinged, and the round trip measured", () => {
    attach();
    assert.deepEqual(socket().ofType("ping"), [{ type: "ping", number: 1 }]);
    const pongs = listen(connection, "pong", "changed");
    clock.pass(20);
    socket().receive({ type: "pong", number: 1, waiting: 7 });
    assert.equal(connection.roundTripMs, 20);
    assert.deepEqual(pongs, [["changed"], ["pong", { type: "pong", number: 1, waiting: 7 }]]);
  });

  test("a lost shell is missed: the next connection says reconnect=1, until a new one is attached", () => {
    attach();
    assert.equal(socket().wish.isReconnect, false);
    socket().end(1006);
    assert.deepEqual(ends, [["lost"], ["retrying", { isRestart: false, reason: null }]]);
    clock.pass(500);
    assert.equal(socket().wish.isReconnect, true);
    socket().end(1006);
    clock.pass(1_000);
    assert.equal(socket().wish.isReconnect, true);
    socket().open();
    const lines = listen(connection, "reconnected");
    socket().receive({ type: "reconnected", message: "new session" });
    assert.deepEqual(lines, [["reconnected", "new session"]]);
    assert.ok(connection.isAttached);
    connection.connect();
    assert.equal(socket().wish.isReconnect, false);
  });

  test("a connection that never had a shell misses none", () => {
    connection.connect();
    socket().end(1006);
    assert.deepEqual(ends.map(([name]) => name), ["retrying"]);
    clock.pass(500);
    assert.equal(socket().wish.isReconnect, false);
  });

  test("an exit is no loss: the page waits to be asked", () => {
    attach();
    socket().end(1000);
    assert.deepEqual(ends, [["lost"], ["exited", null]]);
    clock.pass(60_000);
    assert.equal(sockets.length, 1);
    connection.connect();
    assert.equal(socket().wish.isReconnect, false);
  });

  test("but Tornado's own timeout is a loss, although its code is that of an exit", () => {
    attach();
    socket().end(1000, "ping timed out");
    assert.deepEqual(ends.at(-1), ["retrying", { isRestart: false, reason: null }]);
  });

  test("a machine that is gone or stopped is not asked for again, whatever happens", () => {
    for (const [code, event] of [[4404, "gone"], [4409, "stopped"], [4410, "stopped"]]) {
      attach();
      const before = sockets.length;
      socket().receive({ type: "error", message: "why" });
      socket().end(code);
      assert.deepEqual(ends.at(-1), [event, "why"]);
      connection.wakeUp(true);
      clock.pass(60_000);
      assert.equal(sockets.length, before);
      assert.deepEqual([connection.retryInMs, connection.attempt], [null, null]);
    }
  });

  test("a restart is told from other losses, and its delay is spread", () => {
    attach();
    socket().end(1012);
    assert.deepEqual(ends.at(-1), ["retrying", { isRestart: true, reason: null }]);
    assert.equal(connection.retryInMs, 5000);
  });

  test("the server's error is told, and is the reason when the connection closes; the next has its own", () => {
    const failures = listen(connection, "failed");
    connection.connect();
    socket().open();
    socket().receive({ type: "error", message: "too many terminals" });
    socket().end(4429);
    assert.deepEqual(failures, [["failed", "too many terminals"]]);
    assert.deepEqual(ends.at(-1), ["retrying", { isRestart: false, reason: "too many terminals" }]);
    clock.pass(5_000);
    socket().end(1006);
    assert.equal(ends.at(-1)[1].reason, null);
  });

  test("only ten seconds with a shell make the delays short again", () => {
    connection.connect();
    for (const delay of [500, 1000, 2000]) {
      socket().end(1006);
      assert.equal(connection.retryInMs, delay);
      clock.pass(delay);
    }
    assert.equal(connection.attempts, 3);
    socket().open();
    clock.pass(10_000);   // open, and no shell
    socket().receive({ type: "output", data: "$ " });
    assert.equal(connection.attempts, 3);
    clock.pass(5_001);
    socket().receive({ type: "pong", number: 1 });
    clock.pass(4_998);
    assert.equal(connection.attempts, 3);
    clock.pass(1);
    assert.equal(connection.attempts, 0);
  });

  test("a handshake that takes fifteen seconds is given up", () => {
    connection.connect();
    clock.pass(14_999);
    assert.equal(ends.length, 0);
    clock.pass(1);
    assert.deepEqual(ends.map(([name]) => name), ["retrying"]);
    assert.equal(sockets[0].readyState, 2);
  });

  test("a line that went silent is noticed, and replaced", () => {
    attach();
    clock.pass(9_999);   // a ping at once, one after five seconds, and none answered
    assert.equal(ends.length, 0);
    clock.pass(1);
    assert.deepEqual(ends.map(([name]) => name), ["lost", "retrying"]);
    clock.pass(500);
    assert.equal(sockets.length, 2);
    assert.equal(sockets[0].readyState, 2);
  });

  test("a line that answers is kept", () => {
    attach();
    for (let second = 0; second < 60; second += 1) {
      clock.pass(1_000);
      const ping = socket().ofType("ping").at(-1);
      socket().receive({ type: "pong", number: ping.number });
    }
    assert.equal(ends.length, 0);
    assert.equal(connection.isSilent, false);
  });

  test("what an old socket says reaches no handler", () => {
    attach();
    const old = socket();
    old.end(1006);
    clock.pass(500);
    const seen = listen(connection, "output", "attached");
    old.receive({ type: "output", data: "late" });
    old.end(4404);
    assert.deepEqual(seen, []);
    assert.equal(sockets.length, 2);
  });

  test("a wake-up does not sit out the delay", () => {
    connection.connect();
    socket().end(1006);
    connection.wakeUp(true);
    assert.equal(sockets.length, 2);
    assert.equal(connection.retryInMs, null);
  });

  test("signs of a wake-up that come together make one connection", () => {
    connection.connect();
    socket().end(1006);
    for (let sign = 0; sign < 3; sign += 1) connection.wakeUp(true);
    assert.equal(sockets.length, 2);
  });

  test("a handshake that was begun before the network was back is begun again", () => {
    connection.connect();
    clock.pass(2_000);
    connection.wakeUp(true);
    assert.equal(sockets.length, 1);
    clock.pass(1);
    connection.wakeUp(true);
    assert.equal(sockets.length, 2);
  });

  test("a line from before a wake-up is asked at once, and has eight seconds; one that cannot be seen is left alone", () => {
    attach();
    const pings = socket().ofType("ping").length;
    connection.wakeUp(false);
    assert.equal(socket().ofType("ping").length, pings);
    connection.wakeUp(true);
    assert.equal(socket().ofType("ping").length, pings + 1);
    socket().receive({ type: "pong", number: pings + 1 });
    assert.equal(connection.isSilent, false);
    connection.wakeUp(true);
    clock.pass(7_999);
    assert.equal(ends.length, 0);
    clock.pass(1);
    assert.deepEqual(ends.map(([name]) => name), ["lost", "retrying"]);
  });

  test("a shell that is let go of is not missed", () => {
    attach();
    socket().end(1006);
    connection.close();
    clock.pass(60_000);
    assert.equal(sockets.length, 1);
    connection.connect();
    assert.equal(socket().wish.isReconnect, false);
  });

  const KEPT = { type: "session", id: "the-session", is_new: false, offset: 3, taken: 0 };

  // Connect until a kept shell is attached that has drawn something.
  function attachKept(more = { is_new: true, offset: 0 }) {
    connection.connect();
    socket().open();
    socket().receive({ ...KEPT, ...more });
    socket().receive({ type: "output", data: "$ ", offset: 3 });
  }

  test("a kept shell names itself first, and its output carries its offset, which the next connection hands back", () => {
    const seen = listen(connection, "attached", "kept", "output");
    attachKept();
    assert.deepEqual(seen.map(([name]) => name), ["attached", "kept", "output"]);
    assert.equal(seen[2][3], 3);
    assert.deepEqual([connection.isKept, connection.shell, session.isKept], [true, connection.recipient, true]);
    socket().end(1006);
    clock.pass(500);
    assert.deepEqual(socket().wish, { session: "the-session", client: "the-client", offset: 3, isReconnect: false });
  });

  test("an interruption is no loss: the same shell goes on, and is expected meanwhile", () => {
    attachKept();
    const shell = connection.shell, seen = listen(connection, "interrupted", "kept", "replaced");
    socket().end(1006);
    assert.deepEqual(ends, [["retrying", { isRestart: false, reason: null }]]);
    assert.deepEqual([connection.shell, connection.recipient], [null, shell]);
    clock.pass(500);
    socket().open();
    socket().receive({ ...KEPT, taken: 7 });
    assert.equal(connection.shell, shell);
    const [, [, { isSame, wasDown, taken }]] = seen;
    assert.deepEqual([seen.map(([name]) => name), isSame, wasDown, taken], [["interrupted", "kept"], true, true, 7]);
  });

  test("a new shell in its place is told before it says so itself", () => {
    attachKept();
    const seen = listen(connection, "replaced", "kept", "reconnected");
    socket().end(1006);
    clock.pass(500);
    socket().open();
    socket().receive({ ...KEPT, is_new: true });
    socket().receive({ type: "reconnected", message: "new session" });
    assert.deepEqual(seen.map(([name]) => name), ["replaced", "kept", "reconnected"]);
    assert.equal(session.offset, null);
  });

  test("so is a plain one, by the page where the server does not", () => {
    const seen = listen(connection, "replaced", "reconnected");
    for (const first of [{ type: "reconnected", message: "new" }, { type: "output", data: "$ " }]) {
      attachKept();
      seen.length = 0;
      socket().end(1006);
      connection.connect();
      socket().open();
      socket().receive(first);
      assert.deepEqual(seen.map(([name, text]) => [name, text]), [["replaced", undefined], ["reconnected", first.message]]);
      assert.deepEqual([session.isKept, session.offset], [false, null]);
      connection.close();
    }
  });

  test("the server may lose the shell and find it again on one connection", () => {
    attachKept();
    const seen = listen(connection, "attached", "kept");
    socket().receive({ ...KEPT, taken: 4 });
    assert.equal(seen.length, 1);
    assert.deepEqual([seen[0][1].isSame, seen[0][1].wasDown, seen[0][1].taken], [true, false, 4]);
  });

  test("what is said of a kept shell is passed on", () => {
    attachKept();
    const seen = listen(connection, "replay", "sized", "missed", "confirmed", "foreground");
    const messages = ["replay", "size", "lost", "taken", "foreground"].map((type) => ({ type }));
    for (const message of [...messages, { type: "toString" }, { type: "exit", status: 0 }]) socket().receive(message);
    assert.deepEqual(seen.map(([name]) => name), ["replay", "sized", "missed", "confirmed", "foreground"]);
    assert.deepEqual(seen.map(([, message]) => message), messages);
  });

  test("a terminal that was opened elsewhere is not asked for until the user does", () => {
    attachKept();
    const seen = listen(connection, "taken"), shell = connection.shell;
    socket().receive({ type: "error", message: "opened elsewhere" });
    socket().end(4411);
    assert.deepEqual([seen, ends, connection.recipient], [[["taken"]], [], null]);
    connection.wakeUp(true);
    clock.pass(60_000);
    assert.equal(sockets.length, 1);
    connection.connect();
    assert.equal(socket().wish.offset, 3);
    socket().open();
    socket().receive(KEPT);
    assert.equal(connection.shell, shell);
  });

  test("a kept shell that is found to have ended, or its machine to have stopped, is lost", () => {
    for (const [code, event] of [[1000, "exited"], [4409, "stopped"], [4404, "gone"]]) {
      attachKept();
      socket().end(1006);
      ends.length = 0;
      clock.pass(connection.retryInMs);
      socket().end(code);
      assert.deepEqual(ends.map(([name]) => name), ["lost", event]);
      assert.deepEqual([connection.recipient, connection.isKept, session.offset], [null, false, null]);
    }
  });

  test("with a shell that waits the attempts are close, and begin when the server says", () => {
    attachKept();
    socket().receive({ type: "error", message: "The server restarts.", retry_s: 0.8 });
    socket().end(1012);
    assert.deepEqual(ends.at(-1), ["retrying", { isRestart: true, reason: "The server restarts." }]);
    assert.equal(connection.retryInMs, 1200);
    for (let attempt = 0; attempt < 9; attempt += 1) {
      clock.pass(connection.retryInMs);
      socket().end(1006);
      assert.ok(connection.retryInMs <= 2000);
    }
  });

  test("a handshake that hangs does not keep a shell waiting; refusals leave the next its time", () => {
    attachKept();
    socket().end(1006);
    for (const patience of [2_500, 5_000, 2_500]) {
      clock.pass(connection.retryInMs);
      clock.pass(patience - 1);
      assert.equal(socket().readyState, 0);
      clock.pass(1);
      assert.equal(socket().readyState, 2);
      if (patience === 5_000) {
        clock.pass(connection.retryInMs);
        socket().end(1006);
      }
    }
  });
});
