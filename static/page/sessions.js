// The sessions of machines, as the API lists them.

import { machinePath, sessionPath } from "./protocol.js";

export class Sessions {
  #api;
  #isReading = false;

  constructor(api) {
    this.#api = api;
  }

  // Call `show(id, sessions)` for each of the machines: with none where it keeps none, and not at all where its list cannot be
  // had, or while the last lists are still read.
  async read(machines, show) {
    const isKept = ({ state, sessions }) => state === "running" && sessions?.kept !== false;
    for (const machine of machines) if (!isKept(machine)) show(machine.id, []);
    if (this.#isReading) return;
    this.#isReading = true;
    await Promise.all(machines.filter(isKept).map(({ id }) => this.#readOne(id, show)));
    this.#isReading = false;
  }

  async end(id, session) {
    await this.#api.call("DELETE", sessionPath(id, session));
  }

  async #readOne(id, show) {
    try {
      const { sessions } = await this.#api.call("GET", machinePath(id, "/sessions"));
      show(id, sessions);
    } catch { /* what the list of the machines says next, or the next reading, is newer than this */ }
  }
}
