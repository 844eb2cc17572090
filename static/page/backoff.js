// How long to wait before the next connection: exponential backoff with full jitter.

import { Timer } from "./clock.js";
import { CLOSED } from "./protocol.js";

const DELAY_MS = { first: 500, most: 15000, spread: 5000 };
const STABLE_MS = 10000;   // a shell that lasted this long makes the delays short again

export class Backoff {
  #random;
  #stable;
  #attempts = 0;

  constructor({ clock, random }) {
    this.#random = random;
    this.#stable = new Timer(clock);
  }

  get attempts() {
    return this.#attempts;
  }

  // Return the delay after a connection was closed with this code, in milliseconds. After a restart all tabs of a server come
  // back, and at a limit all that were refused do: the floor of their ceiling spreads them from the first attempt on.
  next(code) {
    let ceiling = Math.min(DELAY_MS.most, DELAY_MS.first * 2 ** this.#attempts);
    if (code === CLOSED.restarting || code === CLOSED.limit) ceiling = Math.max(ceiling, DELAY_MS.spread);
    this.#attempts += 1;
    return this.#random() * ceiling;
  }

  connected() {
    this.#stable.start(() => { this.#attempts = 0; }, STABLE_MS);
  }

  disconnected() {
    this.#stable.stop();
  }
}
