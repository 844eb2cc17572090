import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Events } from "../../static/page/events.js";
import { Replay } from "../../static/page/replay.js";

describe("replay", () => {
  const SHELL = { command: "bash", is_shell: true }, VIM = { command: "vim", is_shell: false };
  let connection, steps, replay;

  beforeEach(() => {
    connection = new Events();
    steps = [];
    const note = (name) => (...values) => { steps.push([name, ...values].join(" ")); };
    const drawing = {
      write: note("write"), printLine: note("line"), leaveProgramModes: note("leave"), disarm: note("disarm"),
      after: (act) => { steps.push("then"); act(); },
    };
    const terminal = {
      drawing, mute: note("mute"), holdSize: note("hold"), releaseSize: note("release"),
      resizeTo: ({ cols, rows }) => steps.push(`size ${cols} ${rows}`),
    };
    connection.on({ output: (text) => steps.push(`write ${text}`) });
    replay = new Replay({ connection, terminal, onEnd: note("end") });
  });

  const kept = (facts = {}) => connection.emit("kept", { offset: 100, taken: 0, isSame: false, isFromStart: true, wasDown: false, ...facts });
  const output = (text, offset) => connection.emit("output", text, () => {}, offset);
  const END = ["mute false", "then", "release", "end"];

  test("what was shown before is drawn without answers and at its sizes, up to where it ends", () => {
    kept();
    connection.emit("replay", { until: 120, modes: "MODES" });
    assert.ok(replay.isUnderWay);
    connection.emit("sized", { cols: 90, rows: 30, offset: 100 });
    output("old", 110);
    connection.emit("sized", { cols: 80, rows: 24, offset: 110 });
    output("older", 120);
    output("unseen", 126);
    assert.deepEqual(steps, ["mute true", "hold", "write MODES", "size 90 30", "write old", "size 80 24", "write older", ...END, "write unseen"]);
    assert.equal(replay.isUnderWay, false);
  });

  test("a size can be the last of it", () => {
    kept();
    connection.emit("replay", { until: 110, modes: "" });
    output("old", 109);
    connection.emit("sized", { cols: 80, rows: 24, offset: 110 });
    assert.deepEqual(steps, ["mute true", "hold", "write old", "size 80 24", ...END]);
  });

  test("where nothing was shown before, only the modes matter", () => {
    kept();
    connection.emit("replay", { until: 100, modes: "MODES" });
    assert.deepEqual(steps, ["mute true", "hold", "write MODES", ...END]);
  });

  test("without a replay nothing is muted, and sizes are this page's own", () => {
    kept();
    output("text", 104);
    connection.emit("sized", { cols: 80, rows: 24, offset: 104 });
    assert.deepEqual(steps, ["write text"]);
  });

  function replayAll(facts, ...foregrounds) {
    kept(facts);
    connection.emit("foreground", foregrounds[0]);
    connection.emit("replay", { until: 103, modes: "" });
    for (const foreground of foregrounds.slice(1)) connection.emit("foreground", foreground);
    output("old", 103);
  }

  test("modes of a program that is gone are not armed again", () => {
    replayAll({}, VIM, SHELL);
    assert.equal(steps.at(-1), "disarm");
    steps.length = 0;
    output("more", 110);
    connection.emit("foreground", SHELL);
    assert.deepEqual(steps, ["write more"]);
  });

  test("those of a program that runs are", () => {
    replayAll({}, SHELL, VIM);
    assert.ok(!steps.includes("disarm"));
    connection.emit("foreground", SHELL);   // it has ended since, and cleans up itself
    assert.ok(!steps.includes("disarm"));
  });

  test("what is in front may be told after the end", () => {
    kept();
    connection.emit("replay", { until: 103, modes: "" });
    output("old", 103);
    assert.ok(!steps.includes("disarm"));
    connection.emit("foreground", SHELL);
    assert.equal(steps.at(-1), "disarm");
  });

  test("a terminal that has seen what came before knows its modes itself", () => {
    replayAll({ isSame: true, isFromStart: false }, SHELL);
    assert.deepEqual(steps.slice(-4), END);
  });

  test("a replay that was cut goes on with the next connection", () => {
    kept();
    connection.emit("replay", { until: 120, modes: "MODES" });
    output("old", 110);
    steps.length = 0;
    kept({ offset: 110, isSame: true, isFromStart: false, wasDown: true });
    connection.emit("foreground", SHELL);
    connection.emit("replay", { until: 120, modes: "" });
    output("older", 120);
    assert.deepEqual(steps, ["mute true", "hold", "write older", ...END, "disarm"]);
  });

  test("and ends where the shell is lost, another or elsewhere", () => {
    for (const end of [() => connection.emit("lost"), () => connection.emit("taken"), () => kept()]) {
      kept();
      connection.emit("replay", { until: 120, modes: "" });
      steps.length = 0;
      end();
      assert.deepEqual(steps, END);
      assert.equal(replay.isUnderWay, false);
    }
  });

  test("output that is lost is said, and old modes with it", () => {
    kept({ isSame: true, isFromStart: false });
    connection.emit("missed", { bytes: 1234567 });
    connection.emit("replay", { until: 100, modes: "MODES" });
    connection.emit("foreground", SHELL);
    const line = "line 1,234,567 bytes of output are lost: there was more than the machine keeps.";
    assert.deepEqual(steps, ["leave", line, "mute true", "hold", "write MODES", ...END, "disarm"]);
  });
});
