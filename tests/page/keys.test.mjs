import assert from "node:assert/strict";
import { test } from "node:test";
import { Bursts, isReply, keySequence, shortcut, withControl } from "../../static/page/keys.js";
import { FakeClock } from "./fakes.mjs";

const NO_KEYS = { ctrlKey: false, shiftKey: false, altKey: false, metaKey: false, code: "" };
const press = (key, ...modifiers) => shortcut({ ...NO_KEYS, key, ...Object.fromEntries(modifiers.map((name) => [`${name}Key`, true])) });

test("shortcuts are those that the settings list, with Ctrl and with Cmd", () => {
  for (const modifier of ["ctrl", "meta"]) {
    assert.equal(press("C", modifier, "shift"), "copy");
    assert.equal(press("V", modifier, "shift"), "paste");
    assert.equal(press("+", modifier), "larger");
    assert.equal(press("=", modifier), "larger");
    assert.equal(press("-", modifier), "smaller");
    assert.equal(press("0", modifier), "usual");
  }
  assert.equal(press("Enter", "shift"), "newline");
  assert.equal(press("Enter", "shift", "ctrl"), "leave");
});

test("all else is the shell's, Ctrl-C first of all", () => {
  for (const key of ["c", "v", "d", "z", "r", "w"]) assert.equal(press(key, "ctrl"), null);
  assert.equal(press("C", "ctrl", "shift", "alt"), null);
  assert.equal(press("C", "ctrl", "shift", "meta"), null);
  assert.equal(press("Enter"), null);
  assert.equal(press("Enter", "shift", "meta"), null);
  assert.equal(press("+"), null);
});

test("letters are what the key writes, and its position where that is not Latin", () => {
  const held = { ...NO_KEYS, ctrlKey: true, shiftKey: true };
  assert.equal(shortcut({ ...held, key: "J", code: "KeyC" }), null);      // Dvorak
  assert.equal(shortcut({ ...held, key: "C", code: "KeyI" }), "copy");
  assert.equal(shortcut({ ...held, key: "С", code: "KeyC" }), "copy");    // Cyrillic
});

test("the key bar sends what the program has asked for", () => {
  const plain = { hasControl: false, isApplication: false };
  assert.equal(keySequence("escape", plain), "\x1b");
  assert.equal(keySequence("tab", plain), "\t");
  assert.equal(keySequence("up", plain), "\x1b[A");
  assert.equal(keySequence("left", { ...plain, isApplication: true }), "\x1bOD");
  assert.equal(keySequence("right", { hasControl: true, isApplication: true }), "\x1b[1;5C");
});

test("held Ctrl makes control characters of letters and of what stands beside them", () => {
  assert.deepEqual(["c", "C", "@", "[", " ", "_"].map(withControl), ["\x03", "\x03", "\x00", "\x1b", "\x00", "\x1f"]);
  assert.deepEqual(["1", "ż", "\r", "\x1b[A"].map(withControl), ["1", "ż", "\r", "\x1b[A"]);
});

test("the terminal's answers to a program are not keys", () => {
  const replies = ["\x1b[?1;2c", "\x1b[>0;276;0c", "\x1b[0n", "\x1b[12;40R", "\x1b[?12;40R", "\x1b[4;600;800t", "\x1b[?2004;1$y",
    "\x1b[I", "\x1b[O", "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1bP1$r0m\x1b\\"];
  for (const reply of replies) assert.ok(isReply(reply), JSON.stringify(reply));
  for (const key of ["a", "\r", "\x1b", "\x1b[A", "\x1bOB", "\x1b[1;5D", "\x1b[3~", "\x1bb", "\x1b[200~c"]) assert.ok(!isReply(key), JSON.stringify(key));
});

test("a burst ends with a pause of half a second, and belongs to the shell it began in", () => {
  const clock = new FakeClock(), bursts = new Bursts(clock), [old, fresh] = [{}, {}];
  assert.equal(bursts.note(old), true);
  clock.pass(500);
  assert.equal(bursts.note(null), false);
  assert.equal(bursts.note(fresh), false);
  assert.ok(bursts.belongsTo(old) && !bursts.belongsTo(fresh));
  clock.pass(501);
  assert.equal(bursts.note(fresh), true);
  assert.ok(bursts.belongsTo(fresh));
  bursts.end();
  assert.equal(bursts.note(fresh), true);
});
