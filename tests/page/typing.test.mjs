import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Events } from "../../static/page/events.js";
import { Typing } from "../../static/page/typing.js";
import { FakeClock, FakeNotice } from "./fakes.mjs";

describe("typing", () => {
  let clock, connection, notice, sent, interrupts, typing;

  class FakeConnection extends Events {
    recipient = {};
    isAttached = true;

    lose() {
      this.recipient = null;
      this.isAttached = false;
      this.emit("detached");
    }
  }

  beforeEach(() => {
    [clock, connection, notice, sent, interrupts] = [new FakeClock(), new FakeConnection(), new FakeNotice(), [], 0];
    const outbox = { add: (data) => sent.push(data) };
    typing = new Typing({ clock, connection, outbox, notice, onInterrupt: () => { interrupts += 1; } });
  });

  const offer = (kind) => { notice.show({ kind, text: "?", act: () => sent.push(`did ${kind}`) }); };

  test("keys go to the shell, and Ctrl-C is told before", () => {
    typing.typed("l", false);
    typing.typed("\x03", false);
    assert.deepEqual([sent, interrupts], [["l", "\x03"], 1]);
  });

  test("a kept shell that waits for the line gets the keys, and a burst goes on in it; a program's answer, too", () => {
    typing.typed("echo ", false);
    connection.isAttached = false;
    connection.emit("detached");
    typing.typed("on", false);
    typing.answered("\x1b[0n");
    connection.isAttached = true;
    typing.typed("e\r", false);
    assert.deepEqual(sent, ["echo ", "on", "\x1b[0n", "e\r"]);
  });

  test("what is typed at no shell reaches none, nor does the second half of it", () => {
    connection.lose();
    typing.typed("echo ", false);
    connection.recipient = {};
    typing.typed("rm -rf x\r", false);
    assert.deepEqual(sent, []);
    clock.pass(501);
    typing.typed("ls\r", false);
    assert.deepEqual(sent, ["ls\r"]);
  });

  test("a burst that began in a lost shell does not go on in the next", () => {
    typing.typed("echo ", false);
    connection.lose();
    connection.recipient = {};
    typing.typed("rm -rf x\r", false);
    assert.deepEqual(sent, ["echo "]);
  });

  test("Enter at no shell does what the notice offers", () => {
    connection.lose();
    offer("exited");
    typing.typed("x", false);
    clock.pass(501);
    typing.typed("\r", false);
    assert.deepEqual(sent, ["did exited"]);
  });

  test("not the Enter of a command that the shell did not live to see, nor a key that is held down", () => {
    typing.typed("make", false);
    connection.lose();
    offer("stopped");
    typing.typed("\r", false);
    clock.pass(501);
    typing.typed("\r", true);
    assert.deepEqual(sent, ["make"]);
    clock.pass(501);
    typing.typed("\r", false);
    assert.deepEqual(sent, ["make", "did stopped"]);
  });

  test("keys after that Enter are a burst of their own", () => {
    connection.lose();
    offer("exited");
    typing.typed("\r", false);
    connection.recipient = {};
    typing.typed("ls\r", false);
    assert.deepEqual(sent, ["did exited", "ls\r"]);
  });

  test("a key takes the warning of an idle stop away, and no other notice", () => {
    offer("idle");
    typing.typed(" ", false);
    assert.equal(notice.kind, null);
    offer("error");
    typing.typed(" ", false);
    assert.equal(notice.kind, "error");
  });

  test("a shell is in use when something was put into it, until it is lost", () => {
    assert.equal(typing.isInUse, false);
    typing.answered("\x1b[0n");
    assert.equal(typing.isInUse, false);
    typing.typed("l", false);
    assert.equal(typing.isInUse, true);
    typing.noteUse(false);
    assert.equal(typing.isInUse, false);
    typing.noteUse();
    connection.lose();
    assert.equal(typing.isInUse, false);
  });

  test("the terminal's answers are no keys: they belong to no burst, and only a shell gets them", () => {
    typing.answered("\x1b[0n");
    assert.equal(typing.lastKeyAt, -Infinity);
    connection.lose();
    typing.answered("\x1b[0n");
    assert.deepEqual(sent, ["\x1b[0n"]);
  });
});
