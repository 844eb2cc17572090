// The clock and its timers behind one interface, so that tests can turn the time by hand.

export const browserClock = {
  now: () => performance.now(),
  setTimeout: (act, ms) => setTimeout(act, ms),
  clearTimeout: (id) => clearTimeout(id),
};

export function sleep(clock, ms) {
  return new Promise((done) => clock.setTimeout(done, ms));
}

// One timer: starting it again replaces what it was to do.
export class Timer {
  #clock;
  #id = 0;

  constructor(clock) {
    this.#clock = clock;
  }

  start(act, ms) {
    this.stop();
    this.#id = this.#clock.setTimeout(act, ms);
  }

  stop() {
    this.#clock.clearTimeout(this.#id);
  }
}
