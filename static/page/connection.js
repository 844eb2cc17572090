// The connection to a shell: opened, watched, opened again after a loss, with the events of an older socket ignored.

import { Backoff } from "./backoff.js";
import { Timer } from "./clock.js";
import { Events } from "./events.js";
import { CLOSED, PING_TIMED_OUT } from "./protocol.js";
import { ShellState } from "./shell.js";
import { TerminalSocket } from "./socket.js";
import { Watchdog } from "./watchdog.js";

const HANGING_MS = 2000;      // after a wake-up, a handshake older than this was begun on another network
const PASSED_ON = { replay: "replay", size: "sized", lost: "missed", taken: "confirmed", foreground: "foreground" };

// Emits, each with its arguments in brackets:
//   connecting            a socket is about to be made
//   begun                 it has been made, and its handshake has begun
//   attached              the shell has sent its first message: from here on input is sent
//   replaced              it is another than the kept one that the page had
//   kept({offset, taken, isSame, isFromStart, wasDown})   the machine keeps this shell, see ShellState.attach; its output goes on
//                         from `offset`, and it has our input up to `taken`; comes again when the server itself was cut off
//   output(text, drawn, offset)   show the text, then call `drawn`; only kept shells have offsets
//   replay, sized, missed, confirmed, foreground (message)   what is said of a kept shell
//   reconnected(text)     this shell is a new one in place of a lost one
//   failed(text)          the server's error message
//   pong(message)         the answer to a ping
//   detached              the socket, if there was one, is let go
//   interrupted           the line to a kept shell is down
//   lost                  the shell that the page had is gone
//   exited, stopped(reason), gone(reason), taken, retrying({isRestart, reason})
//                         why it closed, and after `retrying` another is opened by itself; `taken`: the shell is open elsewhere
//   changed               a fact below has changed
export class Connection extends Events {
  #clock;
  #session;
  #openSocket;
  #backoff;
  #watchdog;
  #retry;
  #handshake;
  #shell;
  #socket = null;
  #beganAt = 0;
  #retryAt = 0;
  #reason = null;          // the server's last error message on this socket
  #hintMs = null;          // after which it says to try again
  #pings = 0;

  // `openSocket(wish)` returns a new WebSocket, see ShellState; `random()` a number from 0 to 1.
  constructor({ clock, random, session, openSocket }) {
    super();
    this.#clock = clock;
    this.#session = session;
    this.#openSocket = openSocket;
    this.#shell = new ShellState(session);
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
    return this.#shell.attached;
  }

  // The shell that gets what is typed: also a kept one that waits for the line to be back.
  get recipient() {
    return this.#shell.recipient;
  }

  get isKept() {
    return this.#shell.isKept;
  }

  get isAttached() {
    return this.#shell.isAttached;
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
    this.#reason = this.#hintMs = null;
    this.#beganAt = this.#clock.now();
    this.#socket = new TerminalSocket(this.#openSocket(this.#shell.wish), {
      clock: this.#clock, opened: () => this.#opened(),
      received: (message) => this.#received(message),
      closed: (code, reason) => { this.#backoff.answered(); this.#closed(code, reason); },
    });
    this.#handshake.start(() => this.#closed(CLOSED.abnormal, ""), this.#backoff.patienceMs(this.isKept));
    this.emit("begun");
    this.emit("changed");
  }

  // Let go of the shell for good: the next one is not a reconnect.
  close() {
    this.#detach();
    this.#letGo();
  }

  // The network, the computer or the user is back: do not sit out the delay, and do not trust a connection from before.
  wakeUp(isVisible) {
    const hangs = this.#socket?.isConnecting && this.#clock.now() - this.#beganAt > HANGING_MS;
    if (this.#retryAt || hangs) this.connect();
    else if (isVisible && this.isOpen) this.#watchdog.hurry();
  }

  // Send a message to the shell, if one is attached.
  send(message) {
    if (this.isAttached) this.#socket.send(message);
  }

  // Tell the server at once what has been drawn.
  acknowledge() {
    this.#socket?.acknowledge();
  }

  ping() {
    this.#pings += 1;
    this.#socket?.send({ type: "ping", number: this.#pings });
    return this.#pings;
  }

  #opened() {
    this.#handshake.stop();
    this.#backoff.answered();
    this.#socket.acknowledge();
    this.#watchdog.watch();
    this.emit("changed");
  }

  #received(message) {
    this.#watchdog.heard();
    const { type } = message;
    if (type === "output") this.#output(message);
    else if (type === "session") this.emit("kept", { ...message, ...this.#attach(message) });
    else if (type === "reconnected") {
      if (!this.isAttached) this.#attach(null);
      this.emit("reconnected", message.message);
    } else if (type === "pong") {
      this.#watchdog.answered(message.number);
      this.emit("pong", message);
    } else if (type === "error") {
      this.#reason = message.message;
      this.#hintMs = message.retry_s === undefined ? null : message.retry_s * 1000;
      this.emit("failed", message.message);
    } else if (Object.hasOwn(PASSED_ON, type)) this.emit(PASSED_ON[type], message);
  }

  #output({ data, offset }) {
    const isUnnamed = !this.isAttached && this.#attach(null).isReplaced;
    if (isUnnamed) this.emit("reconnected");   // the server does not know of the kept shell that this one replaces
    if (offset !== undefined) this.#session.advance(offset);
    const socket = this.#socket;
    this.emit("output", data, () => socket.drawn(data), offset);
  }

  // Null is for another first message than `session`: the machine keeps no shells.
  #attach(message) {
    const facts = this.#shell.attach(message);
    if (facts.isFirst) {
      this.emit("attached");
      this.#watchdog.ask();
      this.#backoff.connected();
    }
    if (facts.isReplaced) this.emit("replaced");
    return facts;
  }

  #detach() {
    const socket = this.#socket;
    for (const timer of [this.#retry, this.#handshake]) timer.stop();
    this.#watchdog.stop();
    this.#backoff.disconnected();
    this.#socket = null;
    this.#shell.detach();
    this.#retryAt = 0;
    this.emit("detached");
    socket?.close();
  }

  #closed(code, reason) {
    const hadShell = this.isAttached;
    this.#detach();
    if (code === CLOSED.gone) this.#ended("gone");
    else if (code === CLOSED.notRunning || code === CLOSED.stopped) this.#ended("stopped");
    else if (code === CLOSED.normal && reason !== PING_TIMED_OUT) this.#ended("exited");
    else if (code === CLOSED.taken) {
      this.#shell.giveUp();
      this.emit("taken");
    } else {
      if (hadShell) this.emit(this.#shell.cutOff() ? "lost" : "interrupted");
      this.#retryLater(code);
    }
  }

  #ended(event) {
    this.#letGo();
    this.emit(event, this.#reason);
  }

  #letGo() {
    if (this.#shell.letGo()) this.emit("lost");
  }

  #retryLater(code) {
    const delay = this.#backoff.next(code, { isKept: this.isKept, hintMs: this.#hintMs });
    this.#retryAt = this.#clock.now() + delay;
    this.#retry.start(() => this.connect(), delay);
    this.emit("retrying", { isRestart: code === CLOSED.restarting, reason: this.#reason });
  }
}
