// How the terminal is connected, since when, and which power change is under way.

import { Timer } from "./clock.js";
import { Events } from "./events.js";

const MENTION_MS = 4000;

// Emits `updated(isChange)` each time a status is reported.
export class Status extends Events {
  #clock;
  #name = null;     // a key of STATUS_WORDS
  #since = 0;
  #pending = null;  // "Starting…" or "Stopping…": the power button waits for it
  #mentioned = "";
  #mentioning;

  constructor(clock) {
    super();
    this.#clock = clock;
    this.#mentioning = new Timer(clock);
  }

  get name() {
    return this.#name;
  }

  get pending() {
    return this.#pending;
  }

  // A word that is worth a few seconds; "" when they are over.
  get mentioned() {
    return this.#mentioned;
  }

  get waitedMs() {
    return this.#clock.now() - this.#since;
  }

  is(...names) {
    return names.includes(this.#name);
  }

  become(name) {
    const isChange = name !== this.#name;
    if (isChange) {
      if (!(this.#name === "connecting" && name === "starting")) this.#since = this.#clock.now();
      this.#name = name;
      this.#pending = null;
      this.#mentioned = "";
    }
    this.emit("updated", isChange);
  }

  wait(pending) {
    this.#pending = pending;
    this.emit("updated", false);
  }

  mention(word) {
    this.#mentioned = word;
    if (word) this.#mentioning.start(() => this.mention(""), MENTION_MS);
    this.emit("updated", false);
  }
}
