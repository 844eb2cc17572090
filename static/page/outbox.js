// Input on its way to the shell: keys go at once, a long paste in parts as the server confirms them.

import { Timer } from "./clock.js";
import { Events } from "./events.js";

export const CHUNK = Math.floor(16 * 1024 / 3);  // UTF-16 units: one is at most 3 bytes of UTF-8, so a message carries ≤ 16 KiB
export const PASTE_WINDOW = 12 * CHUNK;          // this much of a long paste may be on its way; a longer text is a long paste
export const HELD_BYTES = 64 * 1024;             // of UTF-8: how much may be typed while the line is down
const ASK_MS = 200;                              // how often to ask whether the program has read what it was sent
const UTF8 = new TextEncoder();

const isLong = (entry) => entry.text.length > PASTE_WINDOW;
const sum = (items, value) => items.reduce((total, item) => total + value(item), 0);

// A long paste waits for the server's confirmation and for the program to read it: its progress is true, it can be cancelled,
// and a slow program is not overrun. A kept shell is sent offsets in bytes: what it has not confirmed when the line goes down is sent again
// to it when the line is back, from where it says, and what is typed meanwhile follows.
// Emits `changed` after each step, `refused` when too much has been typed while the line is down.
export class Outbox extends Events {
  #sendInput;
  #sendPing;
  #timer;
  #entries = [];       // {text, at, tail, isAnswer}: not sent yet from `at` on
  #parts = [];         // sent and not confirmed: {text, bytes, end, number, isLong, isAnswer}; of a plain shell only long pastes
  #next = 0;           // the offset of the next byte
  #waiting = 0;        // bytes that the server has and the program in the terminal has not read
  #isKept = false;     // the shell outlives its connection
  #isHeld = false;     // the line is down, and the shell waits
  #heldBytes = 0;      // typed since then
  #isDoubtful = false; // some of what is not confirmed is from before the line was back

  // `sendInput(text, offset)` sends one message, without an offset to a plain shell; `sendPing()` returns the number of a ping
  // sent after it.
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

  // Bytes that were sent to a kept shell and that it has not confirmed.
  get untaken() {
    return this.#isKept ? sum(this.#parts, (part) => part.bytes) : 0;
  }

  // Characters that wait for the line to be back; 0 while it is up.
  get held() {
    return this.#isHeld ? [...this.#undelivered()].length : 0;
  }

  // How far a long paste at the front has come, in UTF-16 units: {sent, total}; null when there is none.
  get progress() {
    const [entry] = this.#entries;
    return entry && (isLong(entry) || !this.#isHeld) ? { sent: entry.at, total: entry.text.length } : null;
  }

  // `tail` is what a program must get after `text` even when the rest is cancelled: the end of a bracketed paste. `isAnswer`:
  // the terminal's, not the user's.
  add(text, tail = "", isAnswer = false) {
    const whole = wellFormed(text) + tail;
    if (this.#isHeld) {
      const bytes = UTF8.encode(whole).length;
      if (this.#heldBytes + bytes > HELD_BYTES) return this.emit("refused");
      this.#heldBytes += bytes;
    }
    this.#entries.push({ text: whole, at: 0, tail, isAnswer });
    this.#sendOn();
  }

  // A pong has come: the server has what was sent before its ping and all earlier ones, and so many bytes wait for the program.
  // That is all that a plain shell confirms.
  confirm({ number, waiting = 0 }) {
    for (const part of this.#parts) if (part.number <= number) part.number = 0;
    if (!this.#isKept) this.#parts = this.#parts.filter((part) => part.number);
    this.#waiting = waiting;
    this.#sendOn();
    if (this.#entries.length && waiting >= PASTE_WINDOW) this.#timer.start(this.#sendPing, ASK_MS);
  }

  // A kept shell has taken the input up to this offset.
  taken(offset) {
    this.#drop(offset);
  }

  // The line to a kept shell is down: what is typed from now on waits.
  hold() {
    this.#timer.stop();
    this.#waiting = 0;
    this.#isHeld = this.#isDoubtful = true;
    this.emit("changed");
  }

  // The shell with which this page's input up to `offset` has arrived is there: send the rest. Return what cannot be sent, as
  // the shell's figure does not fit ours; usually "".
  resume(offset) {
    const [first] = this.#parts;
    const isOdd = first && (offset < first.end - first.bytes || offset > this.#next);
    const lost = isOdd ? this.surrender() : "";
    this.#isKept = true;
    this.#isHeld = false;
    this.#heldBytes = 0;
    this.#drop(offset);
    if (!this.#parts.length) this.#next = offset;
    for (const part of this.#parts) this.#sendPart(part);
    this.#sendOn();
    return lost;
  }

  // Drop what is not sent yet, including keys that were typed behind a paste: they were meant to follow it.
  cancel() {
    if (this.isEmpty) return;
    const { text, at, tail } = this.#entries[0];
    // The tail of a paste that has begun, or what is left of it.
    const rest = at ? text.slice(Math.max(at, text.length - tail.length)) : "";
    this.#entries = rest ? [{ text: rest, at: 0, tail: "", isAnswer: false }] : [];
    this.#heldBytes = 0;
    this.#sendOn();
  }

  // The shell is gone, or another's, and all that was meant for it. Return what of the user's it has not confirmed.
  surrender() {
    const text = this.#undelivered();
    this.#timer.stop();
    this.#entries = [];
    this.#parts = [];
    this.#waiting = this.#next = this.#heldBytes = 0;
    this.#isKept = this.#isHeld = this.#isDoubtful = false;
    this.emit("changed");
    return text;
  }

  // The shell has ended. Return what was typed at a line that was down and has not reached it.
  clear() {
    const isDoubtful = this.#isDoubtful, text = this.surrender();
    return isDoubtful ? text : "";
  }

  #undelivered() {
    const rest = this.#entries.map(({ text, at, isAnswer }) => ({ text: text.slice(at), isAnswer }));
    return [...(this.#isKept ? this.#parts : []), ...rest].filter((one) => !one.isAnswer).map((one) => one.text).join("");
  }

  #drop(offset) {
    this.#parts = this.#parts.filter((part) => part.end > offset);
    const [first] = this.#parts;
    if (first) this.#parts[0] = cutPart(first, offset);
    else if (this.isEmpty) this.#isDoubtful = false;
  }

  #sendOn() {
    while (this.#entries.length && !this.#isHeld) {
      const entry = this.#entries[0];
      if (isLong(entry) && this.#backlog() >= PASTE_WINDOW) break;
      const end = chunkEnd(entry.text, entry.at);
      this.#send(entry, entry.text.slice(entry.at, end));
      entry.at = end;
      if (end === entry.text.length) this.#entries.shift();
    }
    this.emit("changed");
  }

  #send(entry, text) {
    const bytes = this.#isKept ? UTF8.encode(text).length : 0;
    this.#next += bytes;
    const part = { text, bytes, end: this.#next, number: 0, isLong: isLong(entry), isAnswer: entry.isAnswer };
    this.#sendPart(part);
    if (this.#isKept || part.isLong) this.#parts.push(part);
  }

  // A ping follows each part of a long paste.
  #sendPart(part) {
    this.#sendInput(part.text, this.#isKept ? part.end - part.bytes : undefined);
    if (part.isLong) part.number = this.#sendPing();
  }

  #backlog() {
    return Math.max(sum(this.#parts, (part) => (part.number ? part.text.length : 0)), this.#waiting);
  }
}

// Half a surrogate pair would make the server refuse the whole message.
const wellFormed = (text) => text.replace(/\p{Cs}/gu, "\ufffd");

function chunkEnd(text, start) {
  const end = Math.min(start + CHUNK, text.length);
  const last = text.charCodeAt(end - 1);
  return end < text.length && last >= 0xd800 && last <= 0xdbff ? end - 1 : end;   // keep a surrogate pair whole
}

// What is left of a part from an offset on, from the beginning of the character that the offset is in.
function cutPart(part, offset) {
  const encoded = UTF8.encode(part.text);
  let at = Math.max(0, offset - (part.end - part.bytes));
  while (at && (encoded[at] & 0xc0) === 0x80) at -= 1;
  if (!at) return part;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(encoded.subarray(at));
  return { ...part, text, bytes: encoded.length - at };
}
