// The shell that the page has: attached, waiting for the line to be back, or lost.

// A plain shell is lost with its connection; a kept one goes on in its machine, under the name of its session.
export class ShellState {
  #session;
  #shell = null;           // {isKept, id}: the attached one, or a kept one that was
  #isAttached = false;
  #isInterrupted = false;
  #hasLostPlain = false;

  constructor(session) {
    this.#session = session;
  }

  get isAttached() {
    return this.#isAttached;
  }

  // The line is down, and a kept shell waits for it.
  get isInterrupted() {
    return this.#isInterrupted;
  }

  get isKept() {
    return Boolean(this.#shell?.isKept);
  }

  // The same for as long as the attached shell; null where there is none.
  get attached() {
    return this.#isAttached ? this.#shell : null;
  }

  // The shell that gets what is typed: also one that waits.
  get recipient() {
    return this.#isAttached || this.#isInterrupted ? this.#shell : null;
  }

  // What the next connection asks for. Of a kept shell that has drawn nothing only this page knows that it was lost.
  get wish() {
    const { id, client, offset } = this.#session;
    return { session: id, client, offset, isReconnect: this.#hasLostPlain || (this.#isInterrupted && offset === null) };
  }

  // A `session` message, or with null another first message, has come. Return {isFirst, isReplaced, isSame, isFromStart, wasDown}:
  // is it the first of this connection, is the shell another than the kept one that the page had, is it that one, does its
  // output come from the start, was the line down.
  attach(message) {
    const had = this.#shell, isFirst = !this.#isAttached, wasDown = this.#isInterrupted;
    const isSame = Boolean(had?.isKept && message && had.id === message.id && !message.is_new);
    const isFromStart = this.#session.offset === null || !message || message.is_new;
    if (!message || message.is_new) this.#session.forget();
    this.#session.told(message !== null);
    if (!isSame) this.#shell = { isKept: message !== null, id: message?.id };
    this.#isAttached = true;
    this.#hasLostPlain = this.#isInterrupted = false;
    return { isFirst, isReplaced: Boolean(had) && !isSame, isSame, isFromStart, wasDown };
  }

  detach() {
    this.#isAttached = false;
  }

  // The attached shell was cut off, and another connection will be made. Return whether it is lost.
  cutOff() {
    if (this.isKept) this.#isInterrupted = true;
    else {
      this.letGo();
      this.#hasLostPlain = true;
    }
    return !this.#isInterrupted;
  }

  // Another page has it.
  giveUp() {
    this.#isInterrupted = false;
  }

  // Return whether there was one.
  letGo() {
    const hadShell = this.#shell !== null;
    this.#shell = null;
    this.#hasLostPlain = this.#isInterrupted = false;
    this.#session.forget();
    return hadShell;
  }
}
