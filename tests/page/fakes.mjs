// What the modules' tests put in place of the browser: a clock that is turned by hand, a WebSocket, and a list of events.

export class FakeClock {
  #now = 1;
  #timers = new Map();
  #lastId = 0;

  now() {
    return this.#now;
  }

  setTimeout(act, ms) {
    this.#lastId += 1;
    this.#timers.set(this.#lastId, { act, due: this.#now + ms });
    return this.#lastId;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  // Let time pass: each timer runs when it is due.
  pass(ms) {
    const end = this.#now + ms;
    for (let next = this.#next(end); next; next = this.#next(end)) this.#run(next, next[1].due);
    this.#now = end;
  }

  // The same for code that awaits something in between.
  async passSlowly(ms) {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#run(next, next[1].due);
      await settle();
    }
    this.#now = end;
  }

  // The computer sleeps: what was due meanwhile runs late, and once.
  sleep(ms) {
    const due = [...this.#timers].filter(([, timer]) => timer.due <= this.#now + ms);
    this.#now += ms;
    for (const [id, timer] of due) if (this.#timers.delete(id)) timer.act();
  }

  #next(end) {
    const due = [...this.#timers].filter(([, timer]) => timer.due <= end);
    return due.sort((one, other) => one[1].due - other[1].due)[0];
  }

  #run([id, timer], at) {
    this.#timers.delete(id);
    this.#now = at;
    timer.act();
  }
}

// All promises that can go on have gone on.
export const settle = () => new Promise((done) => setImmediate(done));

// A WebSocket whose server is the test.
export class FakeSocket {
  readyState = 0;
  sent = [];

  // `wish` is what the page asked for when it opened it.
  constructor(wish = {}) {
    this.wish = wish;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 2;
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  receive(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  ofType(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

// A session whose names are known.
export class FakeSession {
  id = "the-session";
  client = "the-client";
  offset = null;
  isKept = null;
  renewals = 0;

  told(isKept) {
    this.isKept = isKept;
  }

  advance(offset) {
    this.offset = offset;
  }

  forget() {
    this.offset = null;
  }

  renew() {
    this.forget();
    this.renewals += 1;
    this.id = `session ${this.renewals + 1}`;
  }
}

// Note the named events of a source: ["name", ...values] each.
export function listen(source, ...names) {
  const seen = [];
  source.on(Object.fromEntries(names.map((name) => [name, (...values) => seen.push([name, ...values])])));
  return seen;
}

// A notice that only remembers.
export class FakeNotice {
  shown = null;
  hasFocus = false;

  get kind() {
    return this.shown?.kind ?? null;
  }

  get canAct() {
    return Boolean(this.shown?.act);
  }

  show(notice) {
    this.shown = notice;
  }

  showDismissable(kind, text, act = () => this.dismiss()) {
    this.show({ kind, text, label: "Dismiss", act });
  }

  act() {
    this.shown?.act?.();
  }

  removeAction() {
    if (this.shown) this.shown.act = null;
  }

  dismiss() {
    this.hide();
  }

  hide() {
    this.shown = null;
  }
}
