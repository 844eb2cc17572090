import assert from "node:assert/strict";
import { test } from "node:test";
import { describeOffer, offeredText } from "../../static/page/clipboard.js";

const encode = (text) => Buffer.from(text).toString("base64");

test("OSC 52 carries text in base64 of UTF-8", () => {
  assert.equal(offeredText(`c;${encode("żółw from a program")}`), "żółw from a program");
  assert.equal(offeredText(`;${encode("x")}`), "x");
  assert.equal(offeredText("c;"), "");
  assert.equal(offeredText("c;no base64!"), "");
});

test("a program that asks for the clipboard's contents offers nothing", () => {
  assert.equal(offeredText("c;?"), "");
});

test("a text of more than a million characters is not offered", () => {
  assert.equal(offeredText(`c;${encode("x".repeat(1 << 20))}`).length, 1 << 20);
  assert.equal(offeredText(`c;${encode("x".repeat((1 << 20) + 1))}`), "");
});

test("the offer shows the text's beginning on one line", () => {
  assert.match(describeOffer("  one\n\ttwo  "), /: “one two…?”$/);
  assert.match(describeOffer("short"), /: “short”$/);
  assert.match(describeOffer("x".repeat(61)), new RegExp(`: “${"x".repeat(60)}…”$`));
});
