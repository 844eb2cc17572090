// Input on its way to the shell: keys go at once, a long paste in parts as the server confirms them.

import { Timer } from "./clock.js";
import { Events } from "./events.js";

export const CHUNK = Math.floor(16 * 1024 / 3);  // UTF-16 units: one is at most 3 bytes of UTF-8, so a message carries ≤ 16 KiB
export const PASTE_WINDOW = 12 * CHUNK;          // this much of a long paste may be on its way; a longer text is a long paste
const ASK_MS = 200;                              // how often to ask whether the program has read what it was sent

// A long paste waits for the server's confirmation and for the program to read it: its progress is true, it can be cancelled,
// and a slow program is not overrun. Emits `changed` after each step.
export class Outbox extends Events {
  #sendInput;
  #sendPing;
  #timer;
  #entries = [];      // {text, at, tail}; more than one only behind a long paste
  #unconfirmed = [];  // parts of a long paste that the server has not confirmed: {number, length}
  #waiting = 0;       // bytes that the server has and the program in the terminal has not read

  // `sendInput(text)` sends one message; `sendPing()` returns the number of a ping sent after it.
  constructor({ clock, sendInput, sendPing }) {
    super();
    this.#sendInput = sendInput;
    this.#sendPing = sendPing;
    this.#timer = new Timer(clock);
  }

  get isEmpty() {
    return !this.#entries.length;
  }

  // Bytes that the server has and the program in the terminal has not read.
  get waiting() {
    return this.#waiting;
  }

  // How far the text at the front has come, in UTF-16 units: {sent, total}; null when all is sent.
  get progress() {
    const [entry] = this.#entries;
    return entry ? { sent: entry.at, total: entry.text.length } : null;
  }

  // `tail` is what a program must get after `text` even when the rest is cancelled: the end of a bracketed paste.
  add(text, tail = "") {
    this.#entries.push({ text: text + tail, at: 0, tail });
    this.#sendOn();
  }

  // A pong has come: it confirms all pings up to its own, and says how many bytes wait for the program.
  confirm({ number, waiting = 0 }) {
    this.#unconfirmed = this.#unconfirmed.filter((part) => part.number > number);
    this.#waiting = waiting;
    this.#sendOn();
    if (this.#entries.length && waiting > PASTE_WINDOW) this.#timer.start(this.#sendPing, ASK_MS);
  }

  // Drop what is not sent yet, including keys that were typed behind a paste: they were meant to follow it.
  cancel() {
    if (this.isEmpty) return;
    const { text, at, tail } = this.#entries[0];
    // The tail of a paste that has begun, or what is left of it.
    const rest = at ? text.slice(Math.max(at, text.length - tail.length)) : "";
    this.#entries = rest ? [{ text: rest, at: 0, tail: "" }] : [];
    this.#sendOn();
  }

  // The connection is gone, and all that was meant for its shell with it.
  clear() {
    this.#timer.stop();
    this.#entries = [];
    this.#unconfirmed = [];
    this.#waiting = 0;
  }

  #sendOn() {
    while (this.#entries.length) {
      const entry = this.#entries[0], isLong = entry.text.length > PASTE_WINDOW;
      if (isLong && this.#backlog() >= PASTE_WINDOW) break;
      const end = chunkEnd(entry.text, entry.at);
      this.#sendInput(entry.text.slice(entry.at, end));
      if (isLong) this.#unconfirmed.push({ number: this.#sendPing(), length: end - entry.at });
      entry.at = end;
      if (end === entry.text.length) this.#entries.shift();
    }
    this.emit("changed");
  }

  #backlog() {
    return Math.max(this.#unconfirmed.reduce((sum, part) => sum + part.length, 0), this.#waiting);
  }
}

function chunkEnd(text, start) {
  const end = Math.min(start + CHUNK, text.length);
  const last = text.charCodeAt(end - 1);
  return end < text.length && last >= 0xd800 && last <= 0xdbff ? end - 1 : end;   // keep a surrogate pair whole
}
