// What is drawn in the terminal, each in its turn, also where it depends on what the screen shows by then.

// Mouse reports, focus reports, bracketed paste, cursor keys, keypad, character sets, colours, margins off; cursor, wrapping on.
const RESET_MODES = "\x1b[?9;1000;1002;1003;1004;1006;2004;1l\x1b>\x0f\x1b(B\x1b[0m\x1b[!p\x1b[?25;7h";
const PROGRAM_MODES = "\x1b[?9;1000;1002;1003;1004;1006l";   // of these, those that no shell sets

// xterm.js parses what it is given some time after it was given it.
export class Drawing {
  #term;
  #waiting = null;   // steps behind one that has yet to look at the screen

  constructor(term) {
    this.#term = term;
  }

  // `drawn` is called when the text is on the screen.
  write(text, drawn) {
    this.#inTurn(() => this.#term.write(text, drawn));
  }

  // Call `act` when all before it has been drawn, and nothing behind it.
  after(act) {
    this.write("", act);
  }

  // A line of our own, in the muted colour (SGR 2, dim, would be below AA). The text may come from the server: no control
  // character in it may steer the terminal.
  printLine(text) {
    this.#freshLine();
    this.write(`\x1b[90m${text.replace(/[\x00-\x1f\x7f-\x9f]/g, " ")}\x1b[39m\r\n`);
  }

  // A shell that is lost may have left vim's screen, mouse reports or a hidden cursor behind. The scrollback stays.
  leaveProgramModes() {
    this.#leave(RESET_MODES);
    this.#freshLine();
  }

  // The shell is there, but a program that is gone has left its screen, or reports of mouse and focus.
  disarm() {
    this.#leave(PROGRAM_MODES);
  }

  // 1049 only from the alternate screen: elsewhere it would restore a cursor that was never saved.
  #leave(modes) {
    this.#look((buffer) => (buffer.type === "alternate" ? "\x1b[?1049l" : "") + modes);
  }

  #freshLine() {
    this.#look((buffer) => (buffer.cursorX > 0 ? "\r\n" : ""));
  }

  // Write what `choose(buffer)` returns when it sees the screen as it is with all that came before.
  #look(choose) {
    this.#inTurn(() => {
      this.#waiting = [];
      this.#term.write("", () => {
        const waiting = this.#waiting;
        this.#waiting = null;
        this.#term.write(choose(this.#term.buffer.active));
        for (const step of waiting) this.#inTurn(step);
      });
    });
  }

  #inTurn(step) {
    if (this.#waiting) this.#waiting.push(step);
    else step();
  }
}
