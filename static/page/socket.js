// One WebSocket of a terminal: JSON messages, and acknowledgements for what has been drawn.

import { Timer } from "./clock.js";

const ACK_BYTES = 16 * 1024;   // of UTF-8: how much is drawn before the server is told,
const ACK_MS = 100;            // and how long ago
const STATES = { connecting: 0, open: 1 };
const UTF8 = new TextEncoder();

export class TerminalSocket {
  #socket;
  #drawnBytes = 0;
  #acking;
  #isAcking = false;

  // `socket` is a WebSocket that has just been made; the handlers are `opened()`, `received(message)` and `closed(code, reason)`.
  constructor(socket, { clock, opened, received, closed }) {
    this.#socket = socket;
    this.#acking = new Timer(clock);
    socket.onopen = opened;
    socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message) received(message);
    };
    socket.onclose = (event) => closed(event.code, event.reason);
  }

  get isConnecting() {
    return this.#socket.readyState === STATES.connecting;
  }

  get isOpen() {
    return this.#socket.readyState === STATES.open;
  }

  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  // Flow control: the server lets the shell write on as the page draws, so that Ctrl-C in a flood never waits behind old output.
  // What was drawn here is not drawn for the first time elsewhere: a little of it is told soon, too.
  drawn(text) {
    this.#drawnBytes += UTF8.encode(text).length;
    if (this.#drawnBytes >= ACK_BYTES) this.acknowledge();
    else if (!this.#isAcking) {
      this.#isAcking = true;
      this.#acking.start(() => this.acknowledge(), ACK_MS);
    }
  }

  acknowledge() {
    this.#acking.stop();
    this.#isAcking = false;
    if (!this.isOpen) return;
    this.send({ type: "ack", bytes: this.#drawnBytes });
    this.#drawnBytes = 0;
  }

  // Its later events reach no handler.
  close() {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this.#acking.stop();
    if (this.isConnecting || this.isOpen) socket.close();
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
