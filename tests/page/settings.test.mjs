import assert from "node:assert/strict";
import { test } from "node:test";
import { Settings } from "../../static/page/settings.js";
import { listen } from "./fakes.mjs";

const DEFAULTS = { fontSize: 14, asksBeforePaste: true, isForReader: false, optionIsMeta: false };

function storage(text = null) {
  return { text, getItem() { return this.text; }, setItem(_key, value) { this.text = value; } };
}

test("what is changed is remembered, and told", () => {
  const stored = storage(), settings = new Settings(() => stored), seen = listen(settings, "changed");
  assert.deepEqual(settings.values, DEFAULTS);
  settings.change("asksBeforePaste", false);
  assert.equal(seen.length, 1);
  assert.deepEqual(new Settings(() => stored).values, { ...DEFAULTS, asksBeforePaste: false });
});

test("the font has a least and a greatest size, and a usual one", () => {
  const settings = new Settings(() => storage());
  settings.changeFontSize(2);
  assert.equal(settings.values.fontSize, 16);
  settings.changeFontSize(100);
  assert.equal(settings.values.fontSize, 32);
  settings.changeFontSize(-100);
  assert.equal(settings.values.fontSize, 8);
  settings.changeFontSize(0);
  assert.equal(settings.values.fontSize, 14);
});

test("what is not ours, or out of range, costs no terminal", () => {
  for (const text of [null, "", "no JSON", "null", "[]", '"text"', '{"fontSize":"x"}']) {
    assert.equal(new Settings(() => storage(text)).values.fontSize, 14);
  }
  assert.equal(new Settings(() => storage('{"fontSize":99}')).values.fontSize, 32);
});

test("without storage settings last as long as the page", () => {
  const settings = new Settings(() => { throw new Error("refused"); });
  settings.change("isForReader", true);
  assert.equal(settings.values.isForReader, true);
});
