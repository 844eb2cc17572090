import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { CHUNK, HELD_BYTES, Outbox, PASTE_WINDOW } from "../../static/page/outbox.js";
import { FakeClock, listen } from "./fakes.mjs";

describe("outbox", () => {
  const TAIL = "\x1b[201~";
  let clock, sent, pings, outbox;

  beforeEach(() => {
    [clock, sent, pings] = [new FakeClock(), [], 0];
    outbox = new Outbox({ clock, sendInput: (text) => sent.push(text), sendPing: () => ++pings });
  });

  const long = (chunks, rest = 0) => "x".repeat(chunks * CHUNK + rest);

  // Confirm all that has been sent until nothing is left.
  function confirmAll() {
    while (!outbox.isEmpty) outbox.confirm({ number: pings });
  }

  test("keys go at once, without a ping", () => {
    outbox.add("l");
    outbox.add("s\r");
    assert.deepEqual(sent, ["l", "s\r"]);
    assert.equal(pings, 0);
    assert.equal(outbox.progress, null);
  });

  test("a message carries at most 16 KiB of UTF-8", () => {
    outbox.add("日".repeat(3 * CHUNK));
    assert.equal(sent.length, 3);
    for (const text of sent) assert.ok(new TextEncoder().encode(text).length <= 16 * 1024);
  });

  test("a surrogate pair is kept whole", () => {
    outbox.add(`${long(1, -1)}🐢${long(1)}`);
    assert.equal(sent[0], long(1, -1));
    assert.equal(sent.join(""), `${long(1, -1)}🐢${long(1)}`);
    for (const text of sent) assert.ok(text.isWellFormed?.() ?? !/\p{Cs}/u.test(text));
  });

  test("a long paste goes a window at a time, as the server confirms it", () => {
    outbox.add(long(40));
    assert.equal(sent.length, 12);
    assert.deepEqual(outbox.progress, { sent: PASTE_WINDOW, total: 40 * CHUNK });
    outbox.confirm({ number: 1 });
    assert.equal(sent.length, 13);
    outbox.confirm({ number: 6 });   // an answer to one ping confirms those before it
    assert.equal(sent.length, 18);
    confirmAll();
    assert.equal(sent.join(""), long(40));
    assert.equal(outbox.progress, null);
  });

  test("keys typed behind a long paste come after it", () => {
    outbox.add(long(20));
    outbox.add("end");
    assert.ok(!sent.includes("end"));
    confirmAll();
    assert.equal(sent.at(-1), "end");
  });

  test("a program that does not read holds the rest back, and is asked about five times a second", () => {
    outbox.add(long(40));
    outbox.confirm({ number: pings, waiting: PASTE_WINDOW + 1 });
    assert.equal(sent.length, 12);
    assert.equal(pings, 12);
    clock.pass(200);
    assert.equal(pings, 13);
    outbox.confirm({ number: pings, waiting: PASTE_WINDOW - 1 });
    assert.ok(sent.length > 12);
  });

  test("each step is told", () => {
    const seen = listen(outbox, "changed");
    outbox.add(long(40));
    outbox.confirm({ number: 12 });
    outbox.cancel();
    assert.equal(seen.length, 3);
  });

  test("what was not sent is not sent after a cancel, nor what waits behind it", () => {
    outbox.add(long(40));
    outbox.add("rm -rf precious\r");
    outbox.cancel();
    outbox.confirm({ number: pings });
    assert.equal(sent.join(""), long(12));
    assert.ok(outbox.isEmpty);
  });

  test("a cancelled paste that has begun gets its tail, once", () => {
    outbox.add(long(40), TAIL);
    outbox.cancel();
    assert.equal(sent.join(""), long(12) + TAIL);
  });

  test("also where a message has cut that tail in two", () => {
    outbox.add(long(13, -3), TAIL);          // the thirteenth message ends within the tail
    outbox.confirm({ number: 1 });
    assert.deepEqual(outbox.progress, { sent: 13 * CHUNK, total: 13 * CHUNK + 3 });
    outbox.cancel();
    const text = sent.join("");
    assert.equal(text.split(TAIL).length - 1, 1);
    assert.ok(text.endsWith(TAIL));
  });

  test("a paste that still waits behind another is cancelled without a tail", () => {
    outbox.add(long(13));
    confirmAll();
    outbox.confirm({ number: pings, waiting: PASTE_WINDOW });   // the program has read nothing of it
    sent.length = 0;
    outbox.add(long(13), TAIL);
    assert.deepEqual(outbox.progress, { sent: 0, total: 13 * CHUNK + TAIL.length });
    outbox.cancel();
    assert.deepEqual(sent, []);
    assert.ok(outbox.isEmpty);
  });

  test("without anything to send a cancel does nothing", () => {
    outbox.cancel();
    assert.deepEqual(sent, []);
  });

  test("what was meant for a lost shell is forgotten", () => {
    outbox.add(long(40), TAIL);
    outbox.confirm({ number: pings, waiting: PASTE_WINDOW + 1 });
    assert.equal(outbox.clear(), "");
    clock.pass(1_000);
    assert.equal(pings, 12);
    outbox.add("ls\r");
    assert.equal(sent.at(-1), "ls\r");
  });
});

describe("outbox of a kept shell", () => {
  const TAIL = "\x1b[201~";
  let clock, sent, pings, outbox, shell;

  // A shell that takes each byte once, in order, and remembers what it has.
  class Shell {
    bytes = Buffer.alloc(0);
    isReachable = true;

    get text() {
      return this.bytes.toString();
    }

    receive(text, offset) {
      const data = Buffer.from(text), known = this.bytes.length - offset;
      if (!this.isReachable || known < 0 || known > data.length) return;
      this.bytes = Buffer.concat([this.bytes, data.subarray(known)]);
    }
  }

  beforeEach(() => {
    [clock, sent, pings, shell] = [new FakeClock(), [], 0, new Shell()];
    const sendInput = (text, offset) => {
      sent.push([text, offset]);
      shell.receive(text, offset);
    };
    outbox = new Outbox({ clock, sendInput, sendPing: () => ++pings });
    outbox.resume(0);
  });

  const long = (chunks) => "x".repeat(chunks * CHUNK);

  function cut() {
    shell.isReachable = false;
    outbox.hold();
  }

  function comeBack() {
    shell.isReachable = true;
    return outbox.resume(shell.bytes.length);
  }

  test("each message says where in the input it is, in bytes of UTF-8", () => {
    for (const text of ["l", "żółw", "🐢", "\r"]) outbox.add(text);
    assert.deepEqual(sent, [["l", 0], ["żółw", 1], ["🐢", 8], ["\r", 12]]);
    assert.equal(outbox.untaken, 13);
    outbox.taken(8);
    assert.equal(outbox.untaken, 5);
    outbox.taken(13);
    assert.equal(outbox.untaken, 0);
  });

  test("half a surrogate pair costs no more than itself", () => {
    outbox.add("\ud83d");
    outbox.add("x");
    assert.deepEqual(sent, [["\ufffd", 0], ["x", 3]]);
  });

  test("what is not confirmed when the line is back is sent again, from where the shell says", () => {
    for (const text of ["one ", "two ", "three"]) outbox.add(text);
    outbox.hold();
    sent.length = 0;
    assert.equal(outbox.resume(6), "");
    assert.deepEqual(sent, [["o ", 6], ["three", 8]]);
    outbox.add("!");
    assert.deepEqual(sent.at(-1), ["!", 13]);
  });

  test("a character that was cut in two is sent whole, from its beginning", () => {
    outbox.add("aż🐢\ufeffb");
    for (const [taken, rest] of [[1, ["ż🐢\ufeffb", 1]], [2, ["ż🐢\ufeffb", 1]], [6, ["🐢\ufeffb", 3]], [7, ["\ufeffb", 7]], [10, ["b", 10]]]) {
      sent.length = 0;
      outbox.resume(taken);
      assert.deepEqual(sent, [rest]);
    }
  });

  test("what is typed while the line is down waits, is counted, and is delivered once", () => {
    outbox.add("before ");
    cut();
    assert.equal(outbox.held, 7);   // not confirmed: it may not have arrived
    outbox.taken(7);
    outbox.add("ls 🐢");
    outbox.add("\r");
    assert.deepEqual([outbox.held, outbox.progress, sent.length], [5, null, 1]);
    assert.equal(comeBack(), "");
    assert.deepEqual([shell.text, outbox.held], ["before ls 🐢\r", 0]);
    comeBack();
    assert.equal(shell.text, "before ls 🐢\r");
  });

  test("only so much waits; then it is told, and no part of a key or paste is taken", () => {
    const seen = listen(outbox, "refused");
    cut();
    outbox.add("ż".repeat(HELD_BYTES / 2 - 1));
    outbox.add("🐢");
    assert.equal(seen.length, 1);
    outbox.add("ab");
    assert.equal(seen.length, 1);
    comeBack();
    assert.equal(shell.text, `${"ż".repeat(HELD_BYTES / 2 - 1)}ab`);
    cut();
    outbox.add("more");
    assert.equal(seen.length, 1);
  });

  test("a long paste goes a window at a time as the server confirms it, and over interruptions", () => {
    const text = Array.from({ length: 40 }, (_, chunk) => `${chunk}`.padEnd(CHUNK, "ż")).join("");
    outbox.add(text, TAIL);
    assert.deepEqual([sent.length, outbox.progress.sent], [12, PASTE_WINDOW]);
    outbox.confirm({ number: 6 });
    assert.equal(sent.length, 18);
    cut();
    outbox.confirm({ number: pings });
    clock.pass(1_000);
    assert.equal(sent.length, 18);
    outbox.add("end");
    outbox.taken(CHUNK);
    const before = shell.bytes.length;
    shell.isReachable = true;
    assert.equal(outbox.resume(before - 1), "");   // the last byte is on its way still
    assert.equal(outbox.progress.sent, 30 * CHUNK);
    while (!outbox.isEmpty) outbox.confirm({ number: pings });
    assert.equal(shell.text, `${text}${TAIL}end`);
  });

  test("what is sent again of a long paste is on its way again", () => {
    outbox.add(long(40));
    outbox.confirm({ number: 0, waiting: 0 });
    cut();
    assert.equal(outbox.resume(0), "");
    assert.deepEqual([sent.length, pings], [24, 24]);
    outbox.confirm({ number: 13 });
    assert.equal(sent.length, 25);
  });

  test("a program that does not read holds a long paste back, and is asked about even where the window is just full", () => {
    outbox.add(long(40));
    outbox.confirm({ number: pings, waiting: PASTE_WINDOW });
    outbox.taken(shell.bytes.length);
    assert.deepEqual([sent.length, pings], [12, 12]);
    clock.pass(200);
    assert.equal(pings, 13);
    outbox.confirm({ number: pings, waiting: 0 });
    assert.equal(sent.length, 24);
  });

  test("a paste that is cancelled while the line is down ends with its tail, and what was sent arrives", () => {
    outbox.add(long(40), TAIL);
    outbox.add("rm -rf precious\r");
    cut();
    outbox.cancel();
    comeBack();
    assert.equal(shell.text, long(12) + TAIL);
  });

  test("what another shell did not get is returned, and the next begins where it says", () => {
    outbox.add("one");
    outbox.add("\x1b[0n", "", true);   // the terminal's answer is nothing to show
    outbox.taken(2);
    cut();
    outbox.add(" two");
    assert.equal(outbox.surrender(), "e two");
    assert.deepEqual([outbox.untaken, outbox.held, outbox.isEmpty], [0, 0, true]);
    sent.length = 0;
    assert.equal(outbox.resume(0), "");
    outbox.add("x");
    assert.deepEqual(sent, [["x", 0]]);
  });

  test("nothing is sent to a shell whose figure does not fit", () => {
    outbox.add("one");
    outbox.taken(3);
    outbox.add("two");
    for (const odd of [2, 8]) {
      outbox.hold();
      sent.length = 0;
      assert.equal(outbox.resume(odd), odd === 2 ? "two" : "three");
      outbox.add("three");
      assert.deepEqual(sent, [["three", odd]]);
    }
  });

  test("when a shell ends, what it was sent in time is forgotten, and what was typed at a dead line is returned", () => {
    outbox.add("exit\r");
    assert.equal(outbox.clear(), "");
    outbox.resume(0);
    outbox.add("a");
    outbox.hold();
    outbox.add("b");
    outbox.resume(0);
    assert.equal(outbox.clear(), "ab");
    outbox.resume(0);
    outbox.hold();
    outbox.add("c");
    outbox.resume(0);
    outbox.taken(1);
    outbox.add("exit\r");
    assert.equal(outbox.clear(), "");
  });
});
