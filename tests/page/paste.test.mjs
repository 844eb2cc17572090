import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Outbox, PASTE_WINDOW } from "../../static/page/outbox.js";
import { harmless, mustAskBefore, pasteInput, pasteQuestion, Pasting } from "../../static/page/paste.js";
import { Settings } from "../../static/page/settings.js";
import { FakeClock, FakeNotice } from "./fakes.mjs";

test("control characters are replaced by their pictures, but tabs and ends of lines", () => {
  assert.equal(harmless("safe\x1b[201~\rtouch escaped\x03\x9b201~\r\n"), "safe␛[201~\ntouch escaped␃␛201~\n");
  assert.equal(harmless("a\tb\r\nc\rd\ne"), "a\tb\nc\nd\ne");
  assert.equal(harmless("\x00\x07\x08\x0b\x0c\x1f\x7f\x80\x85\x9f"), "␀␇␈␋␌␟␡\ufffd\ufffd\ufffd");
});

test("half a surrogate pair costs no more than itself", () => {
  assert.equal(harmless("left\ud800right"), "left\ufffdright");
  assert.equal(harmless("🐢 żółw 日本"), "🐢 żółw 日本");
});

test("several lines are asked about, and one where it would run at once", () => {
  assert.equal(mustAskBefore("one", true), false);
  assert.equal(mustAskBefore("one\n", true), false);
  assert.equal(mustAskBefore("one\ntwo", true), true);
  assert.equal(mustAskBefore("one", false), false);
  assert.equal(mustAskBefore("one\n", false), true);
});

test("the question counts the lines and shows their beginning", () => {
  assert.equal(pasteQuestion("rm -rf precious\n").title, "Paste a line and run it?");
  const { title, preview, canBeSilenced } = pasteQuestion("echo one\necho two\n");
  assert.deepEqual([title, preview, canBeSilenced], ["Paste 2 lines?", "echo one\necho two", true]);
  const many = pasteQuestion("line\n".repeat(1234));
  assert.equal(many.title, "Paste 1,234 lines?");
  assert.equal(many.preview.split("\n").length, 100);
  assert.equal(pasteQuestion("x".repeat(9999)).preview.length, 5000);
});

test("lines end as Enter does, and bracketed paste has a head and a tail", () => {
  assert.deepEqual(pasteInput("one\ntwo", false), { text: "one\rtwo", tail: "" });
  assert.deepEqual(pasteInput("one\ntwo", true), { text: "\x1b[200~one\rtwo", tail: "\x1b[201~" });
});

describe("pasting", () => {
  let connection, terminal, settings, notice, questions, answer, sent, pings, pastes, pasting, outbox;

  beforeEach(() => {
    [connection, notice, questions, sent, pings, pastes] = [{ recipient: {} }, new FakeNotice(), [], [], 0, 0];
    [answer, settings] = [{ isYes: true, isSilenced: false }, new Settings(() => { throw new Error("no storage"); })];
    terminal = { hasBracketedPaste: false, focused: 0, focus() { this.focused += 1; }, scrollToBottom() { } };
    const question = { ask: async (asked) => { questions.push(asked.title); return answer; } };
    outbox = new Outbox({ clock: new FakeClock(), sendInput: (text) => sent.push(text), sendPing: () => ++pings });
    pasting = new Pasting({ connection, outbox, terminal, settings, notice, question, onPaste: () => { pastes += 1; } });
  });

  test("a line is sent as it is, and without a question", async () => {
    await pasting.paste("echo \x03");
    assert.deepEqual([sent, questions, pastes, terminal.focused], [["echo ␃"], [], 1, 1]);
  });

  test("several lines are asked about; a no sends nothing", async () => {
    answer = { isYes: false, isSilenced: true };
    await pasting.paste("one\ntwo");
    assert.deepEqual([sent, questions, pastes], [[], ["Paste 2 lines?"], 0]);
    assert.equal(settings.values.asksBeforePaste, true);
  });

  test("a yes that is to last is remembered", async () => {
    answer = { isYes: true, isSilenced: true };
    await pasting.paste("one\ntwo");
    await pasting.paste("three\nfour");
    assert.deepEqual([sent, questions.length], [["one\rtwo", "three\rfour"], 1]);
  });

  test("nothing is pasted into no shell, or into another than was asked about", async () => {
    connection.recipient = null;
    await pasting.paste("one");
    connection.recipient = {};
    const pasted = pasting.paste("one\ntwo");
    connection.recipient = {};
    await pasted;
    assert.deepEqual(sent, []);
    assert.equal(notice.shown.text, "The connection was lost meanwhile; nothing was pasted.");
  });

  test("a long paste shows its progress, and can be cancelled", async () => {
    terminal.hasBracketedPaste = true;
    await pasting.paste("x".repeat(2 * PASTE_WINDOW));
    assert.equal(notice.shown.text, "Pasting: 66 of 131 thousand characters.");
    notice.act();
    assert.equal(notice.kind, null);
    assert.ok(sent.at(-1) === "\x1b[201~" && sent.join("").length === PASTE_WINDOW + 6);
    notice.show({ kind: "error", text: "another" });
    pasting.cancel();
    assert.equal(notice.kind, "error");
  });

  test("a notice that had the focus gives it to the terminal when the paste is over", async () => {
    for (const hasFocus of [false, true]) {
      await pasting.paste("x".repeat(2 * PASTE_WINDOW));
      notice.hasFocus = hasFocus;
      const before = terminal.focused;
      while (!outbox.isEmpty) outbox.confirm({ number: pings, waiting: 0 });
      assert.equal(notice.kind, null);
      assert.equal(terminal.focused - before, hasFocus ? 1 : 0);
    }
  });
});
