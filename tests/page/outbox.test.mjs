import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { CHUNK, Outbox, PASTE_WINDOW } from "../../static/page/outbox.js";
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
    outbox.clear();
    clock.pass(1_000);
    assert.equal(pings, 12);
    outbox.add("ls\r");
    assert.equal(sent.at(-1), "ls\r");
  });
});
