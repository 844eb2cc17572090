// The session that a terminal's page shows: its name, which is in the page's address, and how far its output has come.

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

// A random UUID; browsers make one themselves only on secure pages.
export function newId(crypto) {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;   // version 4, RFC 9562
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export class Session {
  #location;
  #history;
  #crypto;
  #id;
  #client;
  #offset = null;
  #isKept = null;

  // `location`, `history` and `crypto` are the browser's. An address without a session gets one, so that a reload keeps the shell.
  constructor({ location, history, crypto }) {
    this.#location = location;
    this.#history = history;
    this.#crypto = crypto;
    this.#client = newId(crypto);
    const named = new URLSearchParams(location.search).get("session") ?? "";
    if (UUID.test(named)) this.#id = named;
    else this.renew();
  }

  get id() {
    return this.#id;
  }

  // Names this page to the machine, which counts its input; another after a reload.
  get client() {
    return this.#client;
  }

  // The position after the last output that the terminal was given, as the server told it; null before the first.
  get offset() {
    return this.#offset;
  }

  // The shell outlives its connection; null before the server has told.
  get isKept() {
    return this.#isKept;
  }

  // The server has told whether it keeps this shell.
  told(isKept) {
    this.#isKept = isKept;
  }

  advance(offset) {
    this.#offset = offset;
  }

  // What comes next begins at the beginning.
  forget() {
    this.#offset = null;
  }

  // Another session, with another name in the address.
  renew() {
    this.forget();
    this.#id = newId(this.#crypto);
    const query = new URLSearchParams(this.#location.search);
    query.set("session", this.#id);
    this.#history.replaceState(this.#history.state, "", `${this.#location.pathname}?${query}${this.#location.hash}`);
  }
}
