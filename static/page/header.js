// The header of a terminal: machine, status, power button; and the window's title.

import { Timer } from "./clock.js";
import { describeStatus, STATUS_WORDS } from "./describe.js";
import { setText } from "./dom.js";

const MOVING = ["starting", "connecting", "reconnecting", "restarting"];   // seconds are counted
const TICK_MS = 250;
const TITLE_CHARACTERS = 200;   // of a program's title

export class Header {
  #root;
  #status;
  #connection;
  #machine;
  #outbox;
  #timer;
  #programTitle = "";   // what the program in the terminal calls the window

  constructor(root, { clock, status, connection, machine, outbox }) {
    this.#root = root;
    this.#status = status;
    this.#connection = connection;
    this.#machine = machine;
    this.#outbox = outbox;
    this.#timer = new Timer(clock);
    this.#showMachine("machine", machine.id);
    status.on({ updated: () => this.#render() });
    connection.on({ changed: () => this.#render() });
    machine.on({ changed: () => this.#machineChanged(machine.json) });
  }

  // `wakeUp`, `toggle`, `leave`, `openSettings`: what its buttons and its link do.
  listen({ wakeUp, toggle, leave, openSettings }) {
    this.#part("#reconnect").onclick = wakeUp;
    this.#part("#power").onclick = toggle;
    this.#part(".back").onclick = leave;
    this.#part("#open-settings").onclick = openSettings;
  }

  setTitle(programTitle) {
    const name = this.#machine.json?.name || "aether";
    this.#programTitle = programTitle;
    document.title = programTitle ? `${programTitle.slice(0, TITLE_CHARACTERS)} · ${name}` : name;
  }

  // A button that was disabled has lost the focus.
  focusPower() {
    if (document.activeElement === document.body) this.#part("#power").focus();
  }

  #render() {
    const name = this.#status.name, pending = this.#status.pending;
    this.#part("#status").dataset.status = name;
    setText(this.#part("#status-word"), STATUS_WORDS[name]);
    const detail = this.#part("#status-detail");   // outside the live region: not each second is to be read out
    setText(detail, this.#describe());
    detail.title = name === "connected" ? "Round trip between this page and the server" : "";
    this.#part("#reconnect").hidden = !this.#status.is("reconnecting", "restarting");
    const power = this.#part("#power");
    power.hidden = this.#status.is("gone", "unavailable");
    power.disabled = Boolean(pending);
    setText(power, pending || (name === "stopped" ? "Start" : "Stop"));
    this.#timer.stop();
    if (this.#status.is(...MOVING) || this.#connection.isSilent) this.#timer.start(() => this.#render(), TICK_MS);
  }

  #describe() {
    const { silenceMs, roundTripMs, retryInMs } = this.#connection;
    const { name: status, waitedMs, mentioned } = this.#status, { held } = this.#outbox;
    const machineState = this.#machine.json?.state;
    return describeStatus({ status, waitedMs, mentioned, held, silenceMs, roundTripMs, retryInMs, machineState });
  }

  #machineChanged({ name, id }) {
    this.#showMachine(name || "machine", id);
    this.setTitle(this.#programTitle);
  }

  #showMachine(name, id) {
    setText(this.#part("#machine-name"), name);
    setText(this.#part("#machine-id"), id.slice(0, 8));
    this.#part("#machine").title = id;
  }

  #part(selector) {
    return this.#root.querySelector(selector);
  }
}
