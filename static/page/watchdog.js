// Is the server still there? Pings of our own, as a page cannot see WebSocket's; they measure the round trip, too.

import { Timer } from "./clock.js";

const EVERY_MS = 5000;      // between two pings
const HURRY_MS = 8000;      // how long a ping after a wake-up may take
const MAX_SILENCES = 2;     // this many pings in a row without any message from the server: the connection is dead
const OVERSLEPT_MS = 1000;  // a timer this late: the page was suspended, and an answer may wait unread

// A laptop that slept or changed its network has a socket that looks open and is dead. Unanswered pings are counted, not
// seconds: a sleep of any length makes one silence, and a timer that comes late sends one more ping before it gives up.
export class Watchdog {
  #clock;
  #sendPing;
  #onDead;
  #onChange;
  #timer;
  #silences = 0;      // pings since the server was last heard
  #silentSince = 0;   // when the first of them was sent
  #ping = null;       // the last one: {number, at}
  #roundTripMs = null;

  // `sendPing()` returns the ping's number; `onDead()` is called when the connection is dead, `onChange()` when a fact is new.
  constructor({ clock, sendPing, onDead, onChange }) {
    this.#clock = clock;
    this.#sendPing = sendPing;
    this.#onDead = onDead;
    this.#onChange = onChange;
    this.#timer = new Timer(clock);
  }

  get silences() {
    return this.#silences;
  }

  get silenceMs() {
    return this.#silences ? this.#clock.now() - this.#silentSince : 0;
  }

  get roundTripMs() {
    return this.#roundTripMs;
  }

  watch(ms = EVERY_MS) {
    const due = this.#clock.now() + ms;
    this.#timer.start(() => {
      const isLate = this.#clock.now() - due > OVERSLEPT_MS;
      if (this.#silences > MAX_SILENCES || (this.#silences === MAX_SILENCES && !isLate)) return this.#onDead();
      this.ask();
      this.watch();
    }, ms);
  }

  ask() {
    const at = this.#clock.now();
    if (!this.#silences) this.#silentSince = at;
    this.#silences += 1;
    this.#ping = { number: this.#sendPing(), at };
    this.#onChange();
  }

  // After a wake-up: send one ping, and if it is not answered in time, the connection is dead.
  hurry() {
    this.ask();
    this.#silences = MAX_SILENCES;
    this.watch(HURRY_MS);
  }

  // Any message in JSON from the server breaks the silence.
  heard() {
    this.#silences = 0;
  }

  answered(number) {
    if (this.#ping?.number !== number) return;
    this.#roundTripMs = this.#clock.now() - this.#ping.at;
    this.#onChange();
  }

  stop() {
    this.#timer.stop();
    this.#silences = 0;
    this.#ping = this.#roundTripMs = null;
  }
}
