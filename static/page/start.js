// The start page: machines are listed, created, started, stopped and deleted.

import { Timer } from "./clock.js";
import { describeProvider } from "./describe.js";
import { showNote } from "./dom.js";
import { MachineList } from "./machine-list.js";
import { machinePath, terminalUrl } from "./protocol.js";

const POLL_MS = { moving: 500, usual: 2000 };   // faster while a machine changes its state

export class StartPage {
  #root;
  #api;
  #question;
  #list;
  #timer;
  #round = 0;

  constructor(root, { clock, api, question }) {
    this.#root = root;
    this.#api = api;
    this.#question = question;
    this.#timer = new Timer(clock);
    this.#list = new MachineList(this.#part("#list"), {
      now: () => api.serverNow(),
      onPower: (button, id, verb) => this.#act(button, () => api.call("POST", machinePath(id, verb))),
      onDelete: (button, id, name) => this.#delete(button, id, name),
    });
    this.#part("#create-form").addEventListener("submit", (event) => this.#create(event));
  }

  async poll() {
    this.#timer.stop();
    if (document.hidden) return;             // visibilitychange calls again
    const round = ++this.#round;             // the answer to an older question is out of date
    try {
      const { machines } = await this.#api.call("GET", "/machines");
      if (round !== this.#round) return;
      this.#list.show(machines);
      showNote(this.#part("#list-empty"), machines.length ? null : "None yet. Create one above.");
      showNote(this.#part("#list-error"), null);
    } catch (error) {
      if (round !== this.#round) return;
      showNote(this.#part("#list-error"), error.message);
      if (this.#list.isEmpty) showNote(this.#part("#list-empty"), null);
    }
    this.#timer.start(() => this.poll(), this.#list.isMoving ? POLL_MS.moving : POLL_MS.usual);
  }

  async showProvider() {
    const health = await this.#api.call("GET", "/healthz").catch(() => ({}));
    showNote(this.#part("#provider"), describeProvider(health));
  }

  // The browser has come back to this page with its history.
  enableCreate() {
    this.#part("#create").disabled = false;
  }

  async #create(event) {
    event.preventDefault();
    const button = this.#part("#create"), wish = this.#wish();
    const body = Object.keys(wish).length ? wish : undefined;
    const machine = await this.#act(button, () => this.#api.call("POST", "/machines", body));
    if (!machine) return;
    button.disabled = true;   // until the page is left: a second click would make a second machine
    location.assign(terminalUrl(machine.id));
  }

  #wish() {
    const wish = {};
    for (const name of ["name", "region"]) {
      const text = this.#part(`#new-${name}`).value.trim();
      if (text) wish[name] = text;
    }
    const [cpu_kind, cpus, memory_mb] = this.#part("#new-size").value.split(" ");
    if (cpu_kind) Object.assign(wish, { cpu_kind, cpus: Number(cpus), memory_mb: Number(memory_mb) });
    return wish;
  }

  async #delete(button, id, name) {
    const { isYes } = await this.#question.ask({
      title: `Delete ${name}?`, yes: "Delete", no: "Keep it", isDangerous: true,
      text: "The machine, everything on its disk and its open terminals go. This cannot be undone.",
    });
    if (!isYes) return;
    await this.#act(button, () => this.#api.call("DELETE", machinePath(id)));
    if (document.activeElement === document.body || document.activeElement === button) this.#part("#list-title").focus();
  }

  // Do what a button asks for: it is disabled meanwhile, and an error is shown.
  async #act(button, call) {
    const hadFocus = document.activeElement === button;
    button.disabled = true;
    showNote(this.#part("#action-error"), null);
    try {
      return await call();
    } catch (error) {
      showNote(this.#part("#action-error"), error.message);
    } finally {
      button.disabled = false;
      if (hadFocus && document.activeElement === document.body) button.focus();   // a disabled button loses it
      this.poll();
    }
  }

  #part(selector) {
    return this.#root.querySelector(selector);
  }
}
