// The sessions of one machine, as a row below the machine's.

import { describeSession } from "./describe.js";
import { element, setText } from "./dom.js";
import { terminalUrl } from "./protocol.js";

export class SessionsList {
  #machineId;
  #onEnd;
  #list = element("ul", {});
  #row = element("tr", { className: "sessions", hidden: true });
  #items = new Map();   // by the session's id

  // A click on a session's End calls `onEnd(button, session)`.
  constructor(machineId, onEnd) {
    this.#machineId = machineId;
    this.#onEnd = onEnd;
    this.#row.append(element("td", { colSpan: 6 }, this.#list));
  }

  get row() {
    return this.#row;
  }

  // `now` is the server's time.
  show(sessions, now) {
    const present = new Set(sessions.map(({ id }) => id));
    for (const [id, { item }] of this.#items) {
      if (!present.has(id)) { item.remove(); this.#items.delete(id); }
    }
    for (const session of sessions) this.#fill(this.#items.get(session.id) || this.#add(session.id), session, now);
    this.#row.hidden = !sessions.length;
  }

  #add(id) {
    const parts = {
      text: element("span", {}), end: element("button", { className: "button", type: "button" }, "End"),
      open: element("a", { className: "button", href: terminalUrl(this.#machineId, id) }, "Open"),
    };
    parts.item = element("li", {}, parts.text, parts.open, parts.end);
    this.#items.set(id, parts);
    this.#list.append(parts.item);
    return parts;
  }

  #fill(parts, session, now) {
    setText(parts.text, describeSession(session, now));
    for (const part of [parts.open, parts.end]) part.ariaLabel = `${part.textContent} ${session.command}`;
    parts.end.onclick = () => this.#onEnd(parts.end, session);
  }
}
