import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { ShellState } from "../../static/page/shell.js";
import { FakeSession } from "./fakes.mjs";

describe("shell state", () => {
  const STARTED = { id: "the-session", is_new: true }, THERE = { id: "the-session", is_new: false };
  let session, shell;

  beforeEach(() => {
    session = new FakeSession();
    shell = new ShellState(session);
  });

  function attachKept() {
    const facts = shell.attach(STARTED);
    session.advance(10);
    return facts;
  }

  function interrupt() {
    shell.detach();
    return shell.cutOff();
  }

  test("the first connection asks for the session from its start", () => {
    assert.deepEqual(shell.wish, { session: "the-session", client: "the-client", offset: null, isReconnect: false });
    assert.deepEqual(attachKept(), { isFirst: true, isReplaced: false, isSame: false, isFromStart: true, wasDown: false });
    assert.deepEqual([shell.isKept, session.isKept, shell.attached === shell.recipient], [true, true, true]);
  });

  test("a kept shell waits for the line, and is the same when it is back", () => {
    attachKept();
    const before = shell.attached;
    assert.equal(interrupt(), false);
    assert.deepEqual([shell.attached, shell.recipient, shell.isInterrupted], [null, before, true]);
    assert.deepEqual([shell.wish.offset, shell.wish.isReconnect], [10, false]);
    assert.deepEqual(shell.attach(THERE), { isFirst: true, isReplaced: false, isSame: true, isFromStart: false, wasDown: true });
    assert.equal(shell.attached, before);
  });

  test("of a kept shell that has drawn nothing only the page knows that it was lost", () => {
    shell.attach(STARTED);
    interrupt();
    assert.deepEqual([shell.wish.offset, shell.wish.isReconnect], [null, true]);
  });

  test("a new one in its place is another, and begins at its beginning", () => {
    attachKept();
    const before = shell.attached;
    interrupt();
    const { isReplaced, isSame, isFromStart } = shell.attach(STARTED);
    assert.deepEqual([isReplaced, isSame, isFromStart, session.offset], [true, false, true, null]);
    assert.notEqual(shell.attached, before);
  });

  test("so is a plain one", () => {
    attachKept();
    interrupt();
    assert.deepEqual([shell.attach(null).isReplaced, session.isKept, session.offset, shell.isKept], [true, false, null, false]);
  });

  test("a second `session` on one connection is not the first, and the shell is the same", () => {
    attachKept();
    assert.deepEqual(shell.attach(THERE), { isFirst: false, isReplaced: false, isSame: true, isFromStart: false, wasDown: false });
    assert.equal(shell.attach(STARTED).isReplaced, true);
  });

  test("a shell that was there before this page draws from the start, and is not one that the page had", () => {
    assert.deepEqual(shell.attach(THERE), { isFirst: true, isReplaced: false, isSame: false, isFromStart: true, wasDown: false });
  });

  test("a plain shell is lost with its connection, and missed", () => {
    shell.attach(null);
    assert.equal(interrupt(), true);
    assert.deepEqual([shell.recipient, shell.wish.isReconnect], [null, true]);
    assert.equal(shell.attach(null).isReplaced, false);
    assert.equal(shell.wish.isReconnect, false);
  });

  test("one that another page has gets nothing, and goes on when it is taken back", () => {
    attachKept();
    const before = shell.attached;
    shell.detach();
    shell.giveUp();
    assert.deepEqual([shell.recipient, shell.isKept, shell.wish.offset], [null, true, 10]);
    shell.attach(THERE);
    assert.equal(shell.attached, before);
  });

  test("one that is let go of is forgotten", () => {
    attachKept();
    assert.equal(shell.letGo(), true);
    assert.equal(shell.letGo(), false);
    assert.deepEqual([shell.recipient, shell.isKept, session.offset], [null, false, null]);
  });
});
