// The connection to a shell: opened, watched, opened again after a loss, with the events of an older socket ignored.

import { Backoff } from "./backoff.js";
import { Timer } from "./clock.js";
import { Events } from "./events.js";
import { CLOSED, PING_TIMED_OUT } from "./protocol.js";
import { TerminalSocket } from "./socket.js";
import { Watchdog } from "./watchdog.js";

const HANDSHAKE_MS = 15000;   // time limit of one WebSocket handshake
const HANGING_MS = 2000;      // after a wake-up, a handshake older than this was begun on another network

// Emits, each with its arguments in brackets:
//   connecting            a socket is about to be made
//   begun                 it has been made, and its handshake has begun
//   attached              the shell has sent its first message: from here on input is sent
//   output(text, drawn)   show the text, then call `drawn`
//   reconnected(text)     this shell is a new one in place of a lost one
//   failed(text)          the server's error message
//   pong(message)         the answer to a ping
//   detached              the socket, if there was one, is let go
//   lost                  a shell that was attached is no longer
//   exited, stopped(reason), gone(reason), retrying({isRestart, reason})
//                         why it closed, and after `retrying` another is opened by itself
//   changed               a fact below has changed
export class Connection extends Events {
  #clock;
  #openSocket;
  #backoff;
  #watchdog;
  #retry;
  #handshake;
  #socket = null;
  #beganAt = 0;
  #isAttached = false;
  #hasLostShell = false;   // a shell was cut off: the next connection says reconnect=1
  #retryAt = 0;
  #reason = null;          // the server's last error message on this socket
  #pings = 0;

  // `openSocket(isReconnect)` returns a new WebSocket; `random()` a number from 0 to 1.
  constructor({ clock, random, openSocket }) {
    super();
    this.#clock = clock;
    this.#openSocket = openSocket;
    this.#retry = new Timer(clock);
    this.#handshake = new Timer(clock);
    this.#backoff = new Backoff({ clock, random });
    this.#watchdog = new Watchdog({
      clock, sendPing: () => this.ping(), onDead: () => this.#closed(CLOSED.abnormal, ""), onChange: () => this.emit("changed"),
    });
  }

  // An opaque value: the same for as long as this attempt to connect, and the connection it leads to, last; null in between.
  get attempt() {
    return this.#socket;
  }

  // The same for as long as the attached shell; null where there is none.
  get shell() {
    return this.#isAttached ? this.#socket : null;
  }

  get isAttached() {
    return this.#isAttached;
  }

  get isOpen() {
    return Boolean(this.#socket?.isOpen);
  }

  get attempts() {
    return this.#backoff.attempts;
  }

  // Milliseconds until the next attempt; null where none is planned.
  get retryInMs() {
    return this.#retryAt ? this.#retryAt - this.#clock.now() : null;
  }

  get silenceMs() {
    return this.#watchdog.silenceMs;
  }

  get isSilent() {
    return this.#watchdog.silences > 0;
  }

  get roundTripMs() {
    return this.#watchdog.roundTripMs;
  }

  connect() {
    this.#detach();
    this.emit("connecting");
    this.#reason = null;
    this.#beganAt = this.#clock.now();
    this.#socket = new TerminalSocket(this.#openSocket(this.#hasLostShell), {
      opened: () => this.#opened(),
      received: (message) => this.#received(message),
      closed: (code, reason) => this.#closed(code, reason),
    });
    this.#handshake.start(() => this.#closed(CLOSED.abnormal, ""), HANDSHAKE_MS);
    this.emit("begun");
    this.emit("changed");
  }

  // Let go of the shell for good: the next one is not a reconnect.
  close() {
    this.#hasLostShell = false;
    this.#detach();
  }

  // The network, the computer or the user is back: do not sit out the delay, and do not trust a connection from before.
  wakeUp(isVisible) {
    const hangs = this.#socket?.isConnecting && this.#clock.now() - this.#beganAt > HANGING_MS;
    if (this.#retryAt || hangs) this.connect();
    else if (isVisible && this.isOpen) this.#watchdog.hurry();
  }

  // Send a message to the shell, if one is attached.
  send(message) {
    if (this.#isAttached) this.#socket.send(message);
  }

  ping() {
    this.#pings += 1;
    this.#socket?.send({ type: "ping", number: this.#pings });
    return this.#pings;
  }

  #opened() {
    this.#handshake.stop();
    this.#socket.acknowledge();
    this.#watchdog.watch();
    this.emit("changed");
  }

  #attach() {
    if (this.#isAttached) return;
    this.#isAttached = true;
    this.#hasLostShell = false;
    this.emit("attached");
    this.#watchdog.ask();
    this.#backoff.connected();
  }

  #received(message) {
    this.#watchdog.heard();
    if (message.type === "output") {
      this.#attach();
      const socket = this.#socket;
      this.emit("output", message.data, () => socket.drawn(message.data));
    } else if (message.type === "reconnected") {
      this.#attach();
      this.emit("reconnected", message.message);
    } else if (message.type === "pong") {
      this.#watchdog.answered(message.number);
      this.emit("pong", message);
    } else if (message.type === "error") {
      this.#reason = message.message;
      this.emit("failed", message.message);
    }
  }

  #detach() {
    const socket = this.#socket;
    for (const timer of [this.#retry, this.#handshake]) timer.stop();
    this.#watchdog.stop();
    this.#backoff.disconnected();
    this.#socket = null;
    this.#isAttached = false;
    this.#retryAt = 0;
    this.emit("detached");
    socket?.close();
  }

  #closed(code, reason) {
    const hadShell = this.#isAttached;
    this.#detach();
    if (hadShell) this.emit("lost");
    if (code === CLOSED.gone) this.emit("gone", this.#reason);
    else if (code === CLOSED.notRunning || code === CLOSED.stopped) this.#ended("stopped");
    else if (code === CLOSED.normal && reason !== PING_TIMED_OUT) this.#ended("exited");
    else {
      this.#hasLostShell ||= hadShell;
      this.#retryLater(code);
    }
  }

  #ended(event) {
    this.#hasLostShell = false;
    this.emit(event, this.#reason);
  }

  #retryLater(code) {
    const delay = this.#backoff.next(code);
    this.#retryAt = this.#clock.now() + delay;
    this.#retry.start(() => this.connect(), delay);
    this.emit("retrying", { isRestart: code === CLOSED.restarting, reason: this.#reason });
  }
}
