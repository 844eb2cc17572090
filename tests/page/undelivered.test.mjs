import assert from "node:assert/strict";
import { test } from "node:test";
import { describeUndelivered, Undelivered } from "../../static/page/undelivered.js";

const INTRO = "Typed, but not delivered to any shell: ";

test("what was not delivered is shown, harmless and on one line", () => {
  assert.equal(describeUndelivered("rm -rf x\r\tα\x1b[A\x03"), `${INTRO}“rm -rf x⏎⇥α␛[A␃”`);
});

test("a long text is shown by its beginning and its length", () => {
  assert.equal(describeUndelivered("🐢".repeat(1234)), `${INTRO}“${"🐢".repeat(200)}” … (1,234 characters)`);
});

test("texts are shown until they are dismissed", () => {
  const parts = { p: { textContent: "" }, button: {} }, bar = { hidden: true, querySelector: (name) => parts[name] };
  let dismissals = 0;
  const undelivered = new Undelivered(bar, () => { dismissals += 1; });
  undelivered.show("");
  assert.equal(bar.hidden, true);
  undelivered.show("one ");
  undelivered.show("");
  undelivered.show("two");
  assert.deepEqual([bar.hidden, parts.p.textContent], [false, `${INTRO}“one two”`]);
  parts.button.onclick();
  assert.deepEqual([bar.hidden, parts.p.textContent, dismissals], [true, "", 1]);
  undelivered.show("three");
  assert.equal(parts.p.textContent, `${INTRO}“three”`);
});
