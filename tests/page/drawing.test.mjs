import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Drawing } from "../../static/page/drawing.js";

const RESET = "\x1b[?9;1000;1002;1003;1004;1006;2004;1l\x1b>\x0f\x1b(B\x1b[0m\x1b[!p\x1b[?25;7h";
const DISARM = "\x1b[?9;1000;1002;1003;1004;1006l";

// A terminal that parses later: it knows the alternate screen, and where a line begins.
class FakeTerm {
  buffer = { active: { type: "normal", cursorX: 0 } };
  drawn = "";
  #queue = [];

  write(text, parsed = () => {}) {
    this.#queue.push({ text, parsed });
  }

  parse() {
    for (let step = this.#queue.shift(); step; step = this.#queue.shift()) {
      this.drawn += step.text;
      const screen = this.buffer.active;
      if (step.text.includes("\x1b[?1049h")) screen.type = "alternate";
      if (step.text.includes("\x1b[?1049l")) screen.type = "normal";
      const visible = step.text.replace(/\x1b(\[[?!]?[\d;]*\w|\(B|>)|\x0f/g, "");
      if (visible) screen.cursorX = visible.endsWith("\n") ? 0 : 5;
      step.parsed();
    }
  }
}

describe("drawing", () => {
  let term, drawing;

  beforeEach(() => {
    term = new FakeTerm();
    drawing = new Drawing(term);
  });

  function drawn() {
    term.parse();
    return term.drawn;
  }

  test("text is drawn, and then it is said", () => {
    const said = [];
    drawing.write("one", () => said.push(term.drawn));
    drawing.after(() => said.push(`after ${term.drawn}`));
    drawing.write("two");
    assert.equal(drawn(), "onetwo");
    assert.deepEqual(said, ["one", "after one"]);
  });

  test("a line of our own begins on a line of its own, in the muted colour, and steers nothing", () => {
    drawing.printLine("first");
    drawing.write("text");
    drawing.printLine("\x1b[2Jsecond\x9b");
    assert.equal(drawn(), "\x1b[90mfirst\x1b[39m\r\ntext\r\n\x1b[90m [2Jsecond \x1b[39m\r\n");
  });

  test("a program's modes are reset, and its screen is left where it is on it by then", () => {
    drawing.write("\x1b[?1049hvim");
    drawing.leaveProgramModes();
    assert.equal(drawn(), `\x1b[?1049hvim\x1b[?1049l${RESET}\r\n`);
    term.drawn = "";
    drawing.leaveProgramModes();
    assert.equal(drawn(), RESET);
  });

  test("a program that is gone leaves its reports and its screen, and its shell keeps bracketed paste", () => {
    drawing.write("\x1b[?1049hvim");
    drawing.disarm();
    assert.equal(drawn(), `\x1b[?1049hvim\x1b[?1049l${DISARM}`);
    assert.ok(!DISARM.includes("2004"));
  });

  test("all is drawn in the order in which it was asked for, however much depends on the screen", () => {
    drawing.write("old");
    drawing.leaveProgramModes();
    drawing.printLine("line");
    const order = [];
    drawing.write("new", () => order.push("drawn"));
    drawing.disarm();
    drawing.after(() => order.push("after"));
    drawing.write("$");
    assert.equal(drawn(), `old${RESET}\r\n\x1b[90mline\x1b[39m\r\nnew${DISARM}$`);
    assert.deepEqual(order, ["drawn", "after"]);
  });
});
