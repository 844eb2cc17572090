import assert from "node:assert/strict";
import { test } from "node:test";
import { harmless, mustAskBefore, pasteInput, pasteQuestion } from "../../static/page/paste.js";

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
