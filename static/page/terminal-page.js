// What a terminal's page does when its connection changes.

import { sleep } from "./clock.js";

const LOST = "Connection lost. Reconnected — new session.";
const POLL_MS = 1000;

export class TerminalPage {
  #clock;
  #connection;
  #machine;
  #session;
  #status;
  #notice;
  #terminal;
  #power;
  #header;
  #takeFocus;
  #toldSize = {};   // which the server knows

  // `takeFocus()` gives the terminal the focus, unless the user is at something else.
  constructor({ clock, connection, machine, session, status, notice, terminal, power, header, takeFocus }) {
    this.#clock = clock;
    this.#connection = connection;
    this.#machine = machine;
    this.#session = session;
    this.#status = status;
    this.#notice = notice;
    this.#terminal = terminal;
    this.#power = power;
    this.#header = header;
    this.#takeFocus = takeFocus;
    connection.on({
      connecting: () => this.#connecting(), begun: () => this.#begun(), attached: () => this.#attached(),
      kept: (facts) => this.#kept(facts), replaced: () => this.#lost(), taken: () => this.#taken(),
      output: (text, drawn) => terminal.drawing.write(text, drawn),
      reconnected: (text) => terminal.drawing.printLine(text || LOST),
      failed: (text) => this.#failed(text), lost: () => this.#lost(),
      retrying: (why) => this.#retrying(why), exited: () => this.#exited(),
      stopped: (reason) => power.stopped(reason), gone: (reason) => power.gone(reason),
    });
    terminal.on({ resized: () => this.#tellSize(), titled: (title) => header.setTitle(title) });
    status.on({ updated: (isChange) => { if (isChange) notice.hide(); } });
  }

  // A shell that draws for this size draws again only where the size is another.
  sendSize() {
    if (!this.#connection.isAttached) return;   // the next connection will say it
    this.#toldSize = this.#terminal.size;
    this.#connection.send({ type: "resize", ...this.#toldSize });
  }

  #tellSize() {
    const { cols, rows } = this.#terminal.size;
    if (cols !== this.#toldSize.cols || rows !== this.#toldSize.rows) this.sendSize();
  }

  #connecting() {
    this.#terminal.fit();
    if (!this.#status.is("starting", "reconnecting", "restarting")) this.#status.become("connecting");
  }

  #begun() {
    this.#toldSize = this.#terminal.size;   // in the address
    this.#watchStart();
  }

  // Until the shell speaks, the API says what the page waits for, and gives the machine its name.
  async #watchStart() {
    const connection = this.#connection, attempt = connection.attempt;
    do {
      try {
        await this.#machine.read();
        if (connection.attempt !== attempt || connection.isAttached) return;
        if (["created", "starting"].includes(this.#machine.json.state)) this.#status.become("starting");
      } catch (error) {
        const isOver = connection.attempt !== attempt && connection.retryInMs === null;
        if (connection.isAttached || isOver) return;
        if (error.status === 404) return this.#power.gone(error.message);
        // A refused WebSocket itself gives no reason.
        if (error.status || connection.attempts > 1) this.#notice.show({ kind: "error", text: error.message });
      }
      await sleep(this.#clock, POLL_MS);
    } while (connection.attempt === attempt && !connection.isAttached);
  }

  #attached() {
    this.#status.become("connected");
    if (!this.#connection.isKept) this.sendSize();
    else this.#tellSize();
    this.#takeFocus();
  }

  #kept({ isSame, wasDown }) {
    if (isSame && wasDown) this.#status.mention("resumed");
  }

  #lost() {
    this.#terminal.drawing.leaveProgramModes();
    this.#header.setTitle("");
  }

  #failed(text) {
    const label = this.#connection.isAttached ? "Dismiss" : "";
    this.#notice.show({ kind: "error", text, label, act: () => this.#notice.dismiss() });
  }

  #retrying({ isRestart, reason }) {
    this.#status.become(isRestart || this.#status.is("restarting") ? "restarting" : "reconnecting");
    if (reason) this.#notice.show({ kind: "error", text: reason });
  }

  #exited() {
    this.#status.become("exited");
    const text = "The shell has exited. Press Enter for a new one.";
    this.#notice.show({ kind: "exited", text, label: "New shell", act: () => this.#connectAnew() });
  }

  #connectAnew() {
    this.#session.renew();
    this.#connection.connect();
  }

  #taken() {
    this.#status.become("taken");
    const text = "This terminal was opened in another tab or device.";
    this.#notice.show({ kind: "taken", text, label: "Take back", act: () => this.#connection.connect() });
  }
}
