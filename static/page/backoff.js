// How long to wait before the next connection: exponential backoff with full jitter.

import { Timer } from "./clock.js";
import { CLOSED } from "./protocol.js";

const DELAY_MS = { first: 500, most: 15000, spread: 5000 };
const KEPT_MS = { most: 2000, during: 120000 };   // a shell that waits for its user is asked for this often, for this long
const HANDSHAKE_MS = { first: 2500, most: 15000 };   // time limit of one WebSocket handshake
const STABLE_MS = 10000;   // a shell that lasted this long makes the delays short again

export class Backoff {
  #clock;
  #random;
  #stable;
  #attempts = 0;
  #hangs = 0;       // handshakes in a row that had their time and did not end
  #lostAt = null;

  constructor({ clock, random }) {
    this.#clock = clock;
    this.#random = random;
    this.#stable = new Timer(clock);
  }

  get attempts() {
    return this.#attempts;
  }

  // Return the delay after a connection was closed with this code, in milliseconds. After a restart all tabs of a server come
  // back, and at a limit all that were refused do: the floor of their ceiling spreads them from the first attempt on.
  // `isKept`: the shell waits in its machine; `hintMs`: when the server says it is back, null where it says nothing.
  next(code, { isKept = false, hintMs = null } = {}) {
    this.#lostAt ??= this.#clock.now();
    const isSoon = isKept && code !== CLOSED.limit && this.#clock.now() - this.#lostAt < KEPT_MS.during;
    let ceiling = Math.min(DELAY_MS.most, DELAY_MS.first * 2 ** this.#attempts);
    if (code === CLOSED.restarting || code === CLOSED.limit) ceiling = Math.max(ceiling, DELAY_MS.spread);
    this.#attempts += 1;
    if (!isSoon) return this.#random() * ceiling;
    if (hintMs !== null) return Math.min(KEPT_MS.most, (0.5 + this.#random()) * hintMs);
    return this.#random() * Math.min(KEPT_MS.most, ceiling);
  }

  // Return how long the next handshake may take, in milliseconds. One to a shell that waits is soon begun again, as its line may
  // be dead; but each in a row has twice the time, as the line may be slow.
  patienceMs(isKept) {
    const patience = isKept ? HANDSHAKE_MS.first * 2 ** this.#hangs : HANDSHAKE_MS.most;
    this.#hangs += 1;
    return Math.min(HANDSHAKE_MS.most, patience);
  }

  // A handshake has ended, well or not.
  answered() {
    this.#hangs = 0;
  }

  connected() {
    this.#lostAt = null;
    this.#stable.start(() => { this.#attempts = 0; }, STABLE_MS);
  }

  disconnected() {
    this.#stable.stop();
  }
}
