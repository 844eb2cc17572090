// A warning before a machine that is not used stops.

import { Timer } from "./clock.js";
import { describeIdleStop } from "./describe.js";

const LOOK_MS = 30000;    // how often to look when the machine will stop
const WARN_MS = 120000;   // how long before that to say so

export class Idleness {
  #api;
  #machine;
  #connection;
  #notice;
  #isHidden;
  #timer;
  #dismissedStop = null;   // the idle_stop_at that the user has dismissed

  // `isHidden()`: the page cannot be seen, so there is nothing to say.
  constructor({ clock, api, machine, connection, notice, isHidden }) {
    this.#api = api;
    this.#machine = machine;
    this.#connection = connection;
    this.#notice = notice;
    this.#isHidden = isHidden;
    this.#timer = new Timer(clock);
    connection.on({ attached: () => this.watch(), detached: () => this.#timer.stop() });
  }

  async watch() {
    const shell = this.#connection.shell;
    const json = this.#isHidden() ? null : await this.#machine.peek();
    if (this.#connection.shell !== shell) return;
    this.#timer.start(() => this.watch(), json?.idle_stop_at ? this.#take(json) : LOOK_MS);
  }

  // Return how long to wait before the next look. Short idle times are warned of, and looked at, in proportion.
  #take(json) {
    this.#machine.take(json);
    const stopsAt = Date.parse(json.idle_stop_at), wholeMs = stopsAt - Date.parse(json.last_activity_at);
    this.#show(json.idle_stop_at, stopsAt - this.#api.serverNow(), Math.min(WARN_MS, wholeMs / 3));
    return Math.min(LOOK_MS, wholeMs / 6);
  }

  #show(stop, leftMs, warnMs) {
    const notice = this.#notice, isShown = notice.kind === "idle";
    if (leftMs >= warnMs || stop === this.#dismissedStop) {
      if (isShown) notice.hide();
    } else if (isShown || !notice.kind) {
      notice.showDismissable("idle", describeIdleStop(leftMs), () => this.#dismiss());
    }
  }

  #dismiss() {
    this.#dismissedStop = this.#machine.json.idle_stop_at;
    this.#notice.dismiss();
  }
}
