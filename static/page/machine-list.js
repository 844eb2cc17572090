// The table of machines. Rows are kept and updated in place, so that an update never takes the focus or a click away.

import { describeMachine, describeSize, describeSpan } from "./describe.js";
import { element, setText } from "./dom.js";
import { terminalUrl } from "./protocol.js";

const STARTABLE = ["stopped", "stopping", "error"];
const MOVING = ["created", "starting", "stopping"];

export class MachineList {
  #table;
  #now;
  #onPower;
  #onDelete;
  #rows = new Map();   // by the machine's id
  #isMoving = false;

  // `now()` is the server's time. Clicks call `onPower(button, id, "/start" or "/stop")` and `onDelete(button, id, name)`.
  constructor(table, { now, onPower, onDelete }) {
    this.#table = table;
    this.#now = now;
    this.#onPower = onPower;
    this.#onDelete = onDelete;
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
      if (!present.has(id)) { cells.row.remove(); this.#rows.delete(id); }
    }
    for (const machine of machines) this.#fill(this.#rows.get(machine.id) || this.#add(machine.id), machine);
    this.#table.hidden = this.isEmpty;
    this.#isMoving = machines.some((machine) => MOVING.includes(machine.state));
  }

  #add(id) {
    const cells = makeCells(id);
    cells.power.onclick = () => this.#onPower(cells.power, id, cells.power.dataset.verb);
    cells.remove.onclick = () => this.#onDelete(cells.remove, id, cells.name.textContent);
    this.#rows.set(id, cells);
    this.#table.tBodies[0].append(cells.row);
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
