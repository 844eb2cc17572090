import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Events } from "../../static/page/events.js";
import { Status } from "../../static/page/status.js";
import { TerminalPage } from "../../static/page/terminal-page.js";
import { FakeClock, FakeNotice, settle } from "./fakes.mjs";

describe("terminal page", () => {
  let clock, connection, machine, status, notice, terminal, ended, reads;

  beforeEach(() => {
    [clock, notice, ended, reads] = [new FakeClock(), new FakeNotice(), [], 0];
    status = new Status(clock);
    const sent = [];
    connection = Object.assign(new Events(), {
      attempt: {}, isAttached: false, attempts: 0, retryInMs: null, sent, send: (message) => sent.push(message), connect: () => sent.push("connect"),
    });
    machine = { json: { state: "running" }, read: async () => { reads += 1; } };
    terminal = Object.assign(new Events(), { lines: [], size: { cols: 80, rows: 24 }, fit() { }, leaveProgramModes() { }, printLine(text) { this.lines.push(text); } });
    const power = { stopped: (reason) => ended.push(["stopped", reason]), gone: (reason) => ended.push(["gone", reason]) };
    new TerminalPage({ clock, connection, machine, status, notice, terminal, power, header: { setTitle() { } }, takeFocus() { } });
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
    assert.deepEqual(terminal.lines, ["Connection lost. Reconnected — new session.", "in the server's words"]);
  });

  test("an exit offers a new shell", () => {
    connection.emit("exited");
    assert.deepEqual([status.name, notice.shown.label], ["exited", "New shell"]);
    notice.act();
    assert.deepEqual(connection.sent, ["connect"]);
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
});
