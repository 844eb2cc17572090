// From the keyboard to the shell: which keys reach it, and what they mean where there is none.

import { Bursts } from "./keys.js";

export class Typing {
  #connection;
  #outbox;
  #notice;
  #onInterrupt;
  #bursts;
  #isInUse = false;

  // `onInterrupt()` is called before a Ctrl-C is sent.
  constructor({ clock, connection, outbox, notice, onInterrupt }) {
    this.#connection = connection;
    this.#outbox = outbox;
    this.#notice = notice;
    this.#onInterrupt = onInterrupt;
    this.#bursts = new Bursts(clock);
    connection.on({ detached: () => { this.#isInUse = false; } });
  }

  // The user has put something into this shell: closing the tab loses something.
  get isInUse() {
    return this.#isInUse;
  }

  get lastKeyAt() {
    return this.#bursts.lastAt;
  }

  noteUse(isInUse = true) {
    this.#isInUse = isInUse;
  }

  // `isRepeat`: the key is being held down.
  typed(data, isRepeat) {
    const shell = this.#connection.recipient;
    const isNewBurst = this.#bursts.note(shell);
    if (shell) {
      if (this.#bursts.belongsTo(shell)) this.#send(data);
    } else if (data === "\r" && this.#notice.canAct && isNewBurst && !isRepeat) {
      // Not the Enter of a command whose shell ended while it was typed. This one was for the page.
      this.#bursts.end();
      this.#notice.act();
    }
  }

  // xterm.js's own answer to a program: no key, but the shell gets it. It asked before the line went down.
  answered(data) {
    if (this.#connection.recipient) this.#outbox.add(data, "", true);
  }

  #send(data) {
    if (data === "\x03") this.#onInterrupt();
    if (this.#notice.kind === "idle") this.#notice.hide();
    this.#isInUse = true;
    this.#outbox.add(data);
  }
}
