// The machine of a terminal page, as the API tells it.

import { Events } from "./events.js";
import { machinePath } from "./protocol.js";

// Emits `changed` when the API has told something new.
export class Machine extends Events {
  #api;
  #id;
  #json = null;

  constructor({ api, id }) {
    super();
    this.#api = api;
    this.#id = id;
  }

  get id() {
    return this.#id;
  }

  // The last answer of the API that was taken; null before the first.
  get json() {
    return this.#json;
  }

  async read() {
    this.take(await this.#api.call("GET", machinePath(this.#id)));
  }

  async start() {
    this.take(await this.#api.call("POST", machinePath(this.#id, "/start")));
  }

  async stop() {
    this.take(await this.#api.call("POST", machinePath(this.#id, "/stop")));
  }

  // Return what the API says now without taking it; null where it does not answer.
  async peek() {
    return this.#api.call("GET", machinePath(this.#id)).catch(() => null);
  }

  take(json) {
    this.#json = json;
    this.emit("changed");
  }
}
