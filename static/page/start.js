// The start page: machines are listed, created, started, stopped and deleted.

import { Api } from "./api.js";
import { browserClock as clock, Timer } from "./clock.js";
import { describeMachine, describeProvider, describeSize, describeSpan } from "./describe.js";
import { $, element, setText, showNote } from "./dom.js";
import { machinePath, terminalUrl } from "./protocol.js";
import { Question } from "./notice.js";
import { Sessions } from "./sessions.js";
import { SessionsList } from "./sessions-list.js";

const POLL_MS = { moving: 500, usual: 2000 };   // faster while a machine changes its state
const STARTABLE = ["stopped", "stopping", "error"];
const MOVING = ["created", "starting", "stopping"];

export function runStartPage() {
  const api = new Api({ fetch: (path, options) => fetch(path, options), now: () => Date.now() });
  const page = new StartPage($("start-view"), { clock, api, question: new Question($("ask")) });
  $("start-view").hidden = false;
  document.addEventListener("visibilitychange", () => page.poll());
  window.addEventListener("online", () => page.poll());
  window.addEventListener("pageshow", () => page.enableCreate());
  page.showProvider();
  page.poll();
}

class StartPage {
  #root;
  #api;
  #question;
  #sessions;
  #list;
  #timer;
  #round = 0;

  constructor(root, { clock, api, question }) {
    this.#root = root;
    this.#api = api;
    this.#question = question;
    this.#timer = new Timer(clock);
    this.#sessions = new Sessions(api);
    this.#list = new MachineList(this.#part("#list"), {
      now: () => api.serverNow(),
      onPower: (button, id, verb) => this.#act(button, () => api.call("POST", machinePath(id, verb))),
      onDelete: (button, id, name) => this.#delete(button, id, name),
      onEnd: (button, id, session) => this.#end(button, id, session),
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
      this.#sessions.read(machines, (id, sessions) => this.#list.showSessions(id, sessions));
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

  // A shell that waits at its prompt loses nothing.
  async #end(button, id, { id: session, command, is_shell }) {
    const isWanted = is_shell || (await this.#question.ask({
      title: `End ${command}?`, yes: "End", no: "Keep it", isDangerous: true,
      text: "Its terminal is hung up, and what it has not saved may be lost.",
    })).isYes;
    if (!isWanted) return;
    await this.#act(button, () => this.#sessions.end(id, session));
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

class MachineList {
  #table;
  #now;
  #onPower;
  #onDelete;
  #onEnd;
  #rows = new Map();   // by the machine's id
  #isMoving = false;

  // `now()` is the server's time. Clicks call `onPower(button, id, "/start" or "/stop")`, `onDelete(button, id, name)` and
  // `onEnd(button, id, session)`.
  constructor(table, { now, onPower, onDelete, onEnd }) {
    this.#table = table;
    this.#now = now;
    this.#onPower = onPower;
    this.#onDelete = onDelete;
    this.#onEnd = onEnd;
  }

  get isEmpty() {
    return !this.#rows.size;
  }

  // A machine is about to change its state.
  get isMoving() {
    return this.#isMoving;
  }

  show(machines) {
    const present = new Set(machines.map((machine) => machine.id));
    for (const [id, cells] of this.#rows) {
      if (!present.has(id)) { cells.row.remove(); cells.sessions.row.remove(); this.#rows.delete(id); }
    }
    for (const machine of machines) this.#fill(this.#rows.get(machine.id) || this.#add(machine.id), machine);
    this.#table.hidden = this.isEmpty;
    this.#isMoving = machines.some((machine) => MOVING.includes(machine.state));
  }

  showSessions(id, sessions) {
    this.#rows.get(id)?.sessions.show(sessions, this.#now());
  }

  #add(id) {
    const cells = makeCells(id);
    cells.sessions = new SessionsList(id, (button, session) => this.#onEnd(button, id, session));
    cells.power.onclick = () => this.#onPower(cells.power, id, cells.power.dataset.verb);
    cells.remove.onclick = () => this.#onDelete(cells.remove, id, cells.name.textContent);
    this.#rows.set(id, cells);
    this.#table.tBodies[0].append(cells.row, cells.sessions.row);
    return cells;
  }

  #fill(cells, machine) {
    const name = machine.name || machine.id.slice(0, 8);
    const startable = STARTABLE.includes(machine.state);
    setText(cells.name, name);
    cells.status.dataset.status = machine.state;
    setText(cells.word, machine.state);
    setText(cells.why, describeMachine(machine, this.#now()));
    setText(cells.region, machine.region || "–");
    setText(cells.size, describeSize(machine.guest));
    setText(cells.age, describeSpan(this.#now() - Date.parse(machine.created_at)));
    cells.row.title = machine.sessions?.kept === false ? `Shells here end with their connection: ${machine.sessions.reason}` : "";
    cells.age.title = new Date(machine.created_at).toLocaleString();
    cells.power.dataset.verb = startable ? "/start" : "/stop";
    setText(cells.power, startable ? "Start" : "Stop");
    for (const button of [cells.open, cells.power, cells.remove]) button.ariaLabel = `${button.textContent} ${name}`;
  }
}

function makeCells(id) {
  const cells = {
    name: element("span", { className: "name" }),
    id: element("small", { className: "mono", title: id }, id.slice(0, 8)),
    status: element("span", { className: "status" }, element("span", { className: "dot" })),
    word: element("span"), why: element("small"),
    region: element("td"), size: element("td"), age: element("td"),
    open: element("a", { className: "button primary", href: terminalUrl(id) }, "Open"),
    power: element("button", { className: "button", type: "button" }),
    remove: element("button", { className: "button danger", type: "button" }, "Delete"),
  };
  cells.status.append(cells.word);
  cells.row = element("tr", {},
    element("td", {}, cells.name, cells.id), element("td", {}, cells.status, cells.why),
    cells.region, cells.size, cells.age,
    element("td", { className: "actions" }, element("div", {}, cells.open, cells.power, cells.remove)));
  return cells;
}
