// Start and stop a terminal's machine, and say when it is stopped or gone.

import { sleep } from "./clock.js";
import { describeStop } from "./describe.js";

const WATCH_MS = 1000;

export class Power {
  #clock;
  #machine;
  #connection;
  #status;
  #notice;
  #onGone;
  #onRefusal;

  // `onGone()` leaves the page; `onRefusal()` is called when a stop was refused after it had been answered.
  constructor({ clock, machine, connection, status, notice, onGone, onRefusal }) {
    this.#clock = clock;
    this.#machine = machine;
    this.#connection = connection;
    this.#status = status;
    this.#notice = notice;
    this.#onGone = onGone;
    this.#onRefusal = onRefusal;
  }

  toggle() {
    return this.#status.is("stopped") ? this.start() : this.stop();
  }

  async start() {
    this.#notice.removeAction();
    this.#status.wait("Starting…");
    try {
      await this.#machine.start();
      this.#status.become("starting");
      this.#connection.connect();
    } catch (error) {
      if (error.status === 404) this.gone(error.message);
      else this.stopped(error.message);
    }
  }

  async stop() {
    this.#status.wait("Stopping…");
    try {
      await this.#machine.stop();
      // With a connection, the server tells the end with its close code.
      if (this.#connection.attempt || this.#status.is("stopped")) this.#watchStop();
      else this.stopped("You stopped the machine.");
    } catch (error) {
      this.#status.wait(null);
      if (error.status === 404) this.gone(error.message);
      else this.#notice.showDismissable("error", error.message);
    }
  }

  stopped(reason) {
    this.#connection.close();
    this.#status.wait(null);
    this.#status.become("stopped");
    this.#notice.show({ kind: "stopped", text: describeStop(reason), label: "Start machine", act: () => this.start() });
  }

  gone(reason) {
    this.#connection.close();
    this.#status.become("gone");
    const text = reason || "This machine no longer exists.";
    this.#notice.show({ kind: "gone", text, label: "To the machines", act: this.#onGone });
  }

  // A stop is answered before it is done, and Fly may refuse it after that: then no close code ever comes.
  async #watchStop() {
    while (this.#status.pending) {
      await sleep(this.#clock, WATCH_MS);
      const json = await this.#machine.peek();   // without an answer the connection will say what is wrong
      if (!this.#status.pending || !json?.error) continue;
      this.#status.wait(null);
      this.#notice.showDismissable("error", json.error.message);
      this.#onRefusal();
    }
  }
}
