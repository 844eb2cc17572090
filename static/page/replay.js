// A replay: output that some terminal has shown before, drawn again at the sizes of its time, with no answers to what it asks.

export class Replay {
  #terminal;
  #onEnd;
  #until = null;        // the offset of its end; null when there is none
  #offset = 0;          // where the output is
  #isFresh = false;     // the terminal has not seen what came before
  #foreground = null;   // the last that was told of this connection
  #mustDisarm = false;

  // `onEnd()` is called when one has been drawn and the terminal has its own size again.
  constructor({ connection, terminal, onEnd }) {
    this.#terminal = terminal;
    this.#onEnd = onEnd;
    connection.on({
      kept: (facts) => this.#kept(facts), missed: ({ bytes }) => this.#missed(bytes), replay: (message) => this.#begin(message),
      sized: (message) => this.#sized(message), output: (_text, _drawn, offset) => this.#reached(offset),
      foreground: (message) => this.#told(message), taken: () => this.#end(), lost: () => this.#end(),
    });
  }

  get isUnderWay() {
    return this.#until !== null;
  }

  // The same terminal may go on with a replay that was cut.
  #kept({ offset, isSame, isFromStart }) {
    if (!isSame) this.#end();
    this.#offset = offset;
    this.#isFresh = isFromStart || (this.isUnderWay && this.#isFresh);
    this.#foreground = null;
    this.#mustDisarm = false;
  }

  // What the terminal shows is out of date, and so are the modes of its programs.
  #missed(bytes) {
    this.#isFresh = true;
    this.#terminal.drawing.leaveProgramModes();
    this.#terminal.drawing.printLine(`${bytes.toLocaleString("en")} bytes of output are lost: there was more than the machine keeps.`);
  }

  #begin({ until, modes }) {
    this.#until = until;
    this.#terminal.mute(true);
    this.#terminal.holdSize();
    if (modes) this.#terminal.drawing.write(modes);
    this.#reached(this.#offset);
  }

  #sized({ cols, rows, offset }) {
    if (!this.isUnderWay) return;
    this.#terminal.resizeTo({ cols, rows });
    this.#reached(offset);
  }

  #reached(offset) {
    this.#offset = offset ?? this.#offset;
    if (!this.isUnderWay || this.#offset < this.#until) return;
    this.#end();
    this.#mustDisarm = this.#isFresh;
    this.#isFresh = false;
    this.#disarm();
  }

  #end() {
    if (!this.isUnderWay) return;
    this.#until = null;
    this.#terminal.mute(false);
    this.#terminal.drawing.after(() => {
      if (this.isUnderWay) return;   // the next has begun
      this.#terminal.releaseSize();
      this.#onEnd();
    });
  }

  #told(foreground) {
    this.#foreground = foreground;
    this.#disarm();
  }

  // Mouse reports and the alternate screen belong to a program; where a shell is in front, that program is gone.
  #disarm() {
    if (!this.#mustDisarm || !this.#foreground) return;
    this.#mustDisarm = false;
    if (this.#foreground.is_shell) this.#terminal.drawing.disarm();
  }
}
