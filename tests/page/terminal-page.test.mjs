import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Events } from "../../static/page/events.js";
import { Status } from "../../static/page/status.js";
import { TerminalPage } from "../../static/page/terminal-page.js";
import { FakeClock, FakeNotice, FakeSession, settle } from "./fakes.mjs";

describe("terminal page", () => {
  let clock, connection, machine, session, status, notice, terminal, page, drawn, titles, ended, reads;

  beforeEach(() => {
    [clock, notice, session, ended, titles, reads] = [new FakeClock(), new FakeNotice(), new FakeSession(), [], [], 0];
    status = new Status(clock);
    const sent = [];
    connection = Object.assign(new Events(), {
      attempt: {}, isAttached: false, isKept: false, attempts: 0, retryInMs: null, sent, send: (message) => sent.push(message), connect: () => sent.push("connect"),
    });
    machine = { json: { state: "running" }, read: async () => { reads += 1; } };
    drawn = [];
    const drawing = { leaveProgramModes: () => drawn.push("left"), printLine: (text) => drawn.push(text), write: (text) => drawn.push(text) };
    terminal = Object.assign(new Events(), { drawing, size: { cols: 80, rows: 24 }, fit() { } });
    const power = { stopped: (reason) => ended.push(["stopped", reason]), gone: (reason) => ended.push(["gone", reason]) };
    const header = { setTitle: (title) => titles.push(title) };
    page = new TerminalPage({ clock, connection, machine, session, status, notice, terminal, power, header, takeFocus() { } });
  });

  function attach() {
    connection.isAttached = true;
    connection.emit("attached");
  }

  test("until the shell speaks, the machine's state says what the page waits for", async () => {
    connection.emit("connecting");
    assert.equal(status.name, "connecting");
    machine.json.state = "starting";
    connection.emit("begun");
    await clock.passSlowly(2_500);
    assert.deepEqual([status.name, reads], ["starting", 3]);
    attach();
    await clock.passSlowly(5_000);
    assert.deepEqual([status.name, reads], ["connected", 3]);
    assert.deepEqual(connection.sent, [{ type: "resize", cols: 80, rows: 24 }]);
  });

  test("an attempt that was replaced asks no more", async () => {
    connection.emit("begun");
    await settle();
    connection.attempt = {};
    await clock.passSlowly(5_000);
    assert.equal(reads, 1);
  });

  test("a machine that is gone is told; another error from the second failed attempt on", async () => {
    machine.read = async () => { throw Object.assign(new Error("no answer"), { status: 0 }); };
    connection.emit("begun");
    await settle();
    assert.equal(notice.kind, null);
    connection.attempts = 2;
    await clock.passSlowly(1_000);
    assert.equal(notice.shown.text, "no answer");
    machine.read = async () => { throw Object.assign(new Error("there is no machine"), { status: 404 }); };
    await clock.passSlowly(1_000);
    assert.deepEqual(ended, [["gone", "there is no machine"]]);
  });

  test("a change of the status takes its notice away, and the reason for a retry comes after it", () => {
    notice.show({ kind: "error", text: "old" });
    connection.emit("retrying", { isRestart: false, reason: "too many terminals" });
    assert.deepEqual([status.name, notice.shown.text], ["reconnecting", "too many terminals"]);
    attach();
    assert.deepEqual([status.name, notice.kind], ["connected", null]);
  });

  test("a restart is called one until there is a shell again", () => {
    connection.emit("retrying", { isRestart: true, reason: null });
    connection.emit("retrying", { isRestart: false, reason: null });
    connection.emit("connecting");
    assert.equal(status.name, "restarting");
    attach();
    connection.emit("retrying", { isRestart: false, reason: null });
    assert.equal(status.name, "reconnecting");
  });

  test("a new shell in place of a lost one is said in the terminal", () => {
    connection.emit("reconnected", undefined);
    connection.emit("reconnected", "in the server's words");
    assert.deepEqual(drawn, ["Connection lost. Reconnected — new session.", "in the server's words"]);
  });

  test("an exit offers a new shell", () => {
    connection.emit("exited");
    assert.deepEqual([status.name, notice.shown.label], ["exited", "New shell"]);
    notice.act();
    assert.deepEqual(connection.sent, ["connect"]);
    assert.equal(session.renewals, 1);
  });

  test("the server's error can be dismissed where the terminal goes on", () => {
    connection.emit("failed", "why");
    assert.equal(notice.shown.label, "");
    attach();
    connection.emit("failed", "why");
    assert.equal(notice.shown.label, "Dismiss");
    notice.act();
    assert.equal(notice.kind, null);
  });

  test("stopped and gone machines are told by their reasons", () => {
    connection.emit("stopped", "idle");
    connection.emit("gone", "deleted");
    assert.deepEqual(ended, [["stopped", "idle"], ["gone", "deleted"]]);
  });

  // A kept shell, of which nothing else is known.
  const KEPT = { offset: 0, taken: 0, isSame: false, isFromStart: true, wasDown: false };

  function attachKept(facts) {
    connection.isKept = true;
    connection.emit("begun");
    attach();
    connection.emit("kept", { ...KEPT, ...facts });
  }

  test("a kept shell that goes on is told of quietly, for a few seconds, and its screen stays", () => {
    attachKept({});
    assert.equal(status.mentioned, "");
    connection.isAttached = false;
    connection.emit("interrupted");
    connection.emit("retrying", { isRestart: false, reason: null });
    assert.equal(status.name, "reconnecting");
    attachKept({ isSame: true, wasDown: true });
    assert.deepEqual([status.name, status.mentioned, notice.kind], ["connected", "resumed", null]);
    clock.pass(4_000);
    assert.equal(status.mentioned, "");
    assert.deepEqual([drawn, titles], [[], []]);
  });

  test("so is not the server's own loss and return, of which the user has seen nothing", () => {
    attachKept({});
    connection.emit("kept", { ...KEPT, isSame: true });
    assert.equal(status.mentioned, "");
  });

  test("the screen of a kept shell is left when another takes its place", () => {
    connection.emit("replaced");
    connection.emit("reconnected", "new session");
    assert.deepEqual([drawn, titles], [["left", "new session"], [""]]);
  });

  test("a kept shell is told a size only if it is another than the one in the address", () => {
    attachKept({});
    terminal.emit("resized");
    assert.deepEqual(connection.sent, []);
    terminal.size = { cols: 100, rows: 30 };
    terminal.emit("resized");
    terminal.emit("resized");
    assert.deepEqual(connection.sent, [{ type: "resize", cols: 100, rows: 30 }]);
    page.sendSize();
    assert.equal(connection.sent.length, 2);
  });

  test("a size that changes while the line is down is in the next address", () => {
    attachKept({});
    connection.isAttached = false;
    terminal.size = { cols: 100, rows: 30 };
    terminal.emit("resized");
    attachKept({ isSame: true, wasDown: true });
    assert.deepEqual(connection.sent, []);
  });

  test("a size that changes while the line opens is told", () => {
    connection.isKept = true;
    connection.emit("begun");
    terminal.size = { cols: 100, rows: 30 };
    terminal.emit("resized");
    attach();
    assert.deepEqual(connection.sent, [{ type: "resize", cols: 100, rows: 30 }]);
  });

  test("a terminal that was opened elsewhere says so, and is taken back when asked", () => {
    attachKept({});
    connection.emit("taken");
    assert.deepEqual([status.name, notice.shown.label], ["taken", "Take back"]);
    assert.equal(notice.shown.text, "This terminal was opened in another tab or device.");
    notice.act();
    assert.deepEqual([connection.sent, session.renewals, drawn], [["connect"], 0, []]);
  });
});
