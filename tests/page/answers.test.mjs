import assert from "node:assert/strict";
import { test } from "node:test";
import { Answers } from "../../static/page/answers.js";

// A parser that only knows which handler gets a sequence.
class FakeParser {
  handlers = new Map();

  registerCsiHandler({ prefix = "", intermediates = "", final }, handler) {
    this.handlers.set(`CSI ${prefix}${intermediates}${final}`, handler);
  }

  registerDcsHandler({ intermediates, final }, handler) {
    this.handlers.set(`DCS ${intermediates}${final}`, handler);
  }

  // Is the sequence kept from xterm.js's own handler?
  swallows(name) {
    return this.handlers.get(name)([]);
  }
}

const QUERIES = ["CSI c", "CSI >c", "CSI =c", "CSI n", "CSI ?n", "CSI $p", "CSI ?$p", "CSI >q", "CSI t", "CSI ?u", "DCS $q"];

test("queries are swallowed while the answers are muted, and no other sequence is", () => {
  const parser = new FakeParser(), answers = new Answers(parser);
  assert.deepEqual([...parser.handlers.keys()], QUERIES);
  for (const isMuted of [false, true, false]) {
    answers.isMuted = isMuted;
    for (const query of QUERIES) assert.equal(parser.swallows(query), isMuted);
  }
});

test("reports that come with a mode or with colours are swallowed while muted", () => {
  const answers = new Answers(new FakeParser());
  const reports = ["\x1b[I", "\x1b[O", "\x1b[<35;1;1M", "\x1b[M !!", "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1b]4;1;rgb:0/0/0\x1b\\"];
  for (const report of reports) assert.equal(answers.swallows(report), false);
  answers.isMuted = true;
  for (const report of reports) assert.equal(answers.swallows(report), true);
});

test("what is typed is never swallowed, whatever it looks like", () => {
  const answers = new Answers(new FakeParser());
  answers.isMuted = true;
  const keys = ["a", "\r", "\x03", "\x1b", "\x1b[A", "\x1bOB", "\x1b[1;2R", "\x1b[3~", "\x1bb", "\x1b]", "\x1b[", "\x1b[15~"];
  for (const key of keys) assert.equal(answers.swallows(key), false, JSON.stringify(key));
});
