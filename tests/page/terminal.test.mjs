import assert from "node:assert/strict";
import { test } from "node:test";
import { linkHandler, webAddress } from "../../static/page/terminal.js";

test("only web addresses are followed, whatever a program calls a link", () => {
  assert.equal(webAddress("https://example.org/"), "https://example.org/");
  assert.equal(webAddress("http://localhost:8080/x"), "http://localhost:8080/x");
  for (const text of ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "aether:x", "nonsense", ""]) {
    assert.equal(webAddress(text), null);
  }
});

test("the target is shown while the pointer is on it, with the key of this computer", () => {
  const box = { removeAttribute(name) { delete this[name]; } };
  linkHandler({ box, isMac: false }).hover({}, "https://example.org/");
  assert.equal(box.title, "https://example.org/\nCtrl-click opens it");
  linkHandler({ box, isMac: true }).hover({}, "https://example.org/");
  assert.equal(box.title, "https://example.org/\nCmd-click opens it");
  linkHandler({ box, isMac: true }).leave();
  assert.equal(box.title, undefined);
});
