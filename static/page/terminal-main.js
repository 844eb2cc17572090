// The terminal's page is put together here.

import { Api } from "./api.js";
import { Clipboard } from "./clipboard.js";
import { browserClock as clock } from "./clock.js";
import { Connection } from "./connection.js";
import { deliver } from "./delivery.js";
import { $ } from "./dom.js";
import { Header } from "./header.js";
import { Idleness } from "./idleness.js";
import { isReply, Keyboard } from "./keys.js";
import { linkHandler, TerminalView } from "./terminal.js";
import { Machine } from "./machine.js";
import { Notice, Question } from "./notice.js";
import { Outbox } from "./outbox.js";
import { Pasting } from "./paste.js";
import { Power } from "./power.js";
import { socketUrl } from "./protocol.js";
import { Replay } from "./replay.js";
import { Session } from "./session.js";
import { Settings, SettingsDialog } from "./settings.js";
import { Status } from "./status.js";
import { TerminalPage } from "./terminal-page.js";
import { Typing } from "./typing.js";
import { Undelivered } from "./undelivered.js";

const isMac = /^(Mac|iP)/.test(navigator.platform);
const isHidden = () => document.hidden;
const leavePage = () => location.assign("/terminal.html");

// The objects of a terminal's page. Each is given the others that it calls, and learns of the rest by their events.
function makeTerminal(id) {
  const settings = new Settings(() => localStorage);
  const terminal = new TerminalView($("terminal"), { clock, links: linkHandler({ box: $("terminal"), isMac }) });
  const focus = () => terminal.focus();
  const session = new Session({ location, history, crypto });
  const openSocket = (wish) => new WebSocket(socketUrl(location, id, terminal.size, wish));
  const connection = new Connection({ clock, random: () => Math.random(), session, openSocket });
  const sendInput = (data, offset) => connection.send({ type: "input", data, offset });
  const api = new Api({ fetch: (path, options) => fetch(path, options), now: () => Date.now() });
  const shared = {
    clock, api, settings, terminal, session, connection,
    question: new Question($("ask")),
    machine: new Machine({ api, id }),
    status: new Status(clock),
    notice: new Notice($("notice"), focus),
    undelivered: new Undelivered($("undelivered"), focus),
    outbox: new Outbox({ clock, sendInput, sendPing: () => connection.ping() }),
    clipboard: new Clipboard($("offer"), { system: navigator.clipboard, onAnswer: focus }),
  };
  const { clipboard } = shared;
  connection.on({ detached: () => clipboard.withdraw() });
  const header = new Header($("terminal-view"), shared);
  const power = new Power({ ...shared, onGone: leavePage, onRefusal: () => header.focusPower() });
  const page = new TerminalPage({ ...shared, power, header, takeFocus: () => takeFocus(terminal) });
  new Replay({ ...shared, onEnd: () => page.sendSize() });
  deliver(shared);
  new Idleness({ ...shared, isHidden });
  const dialog = new SettingsDialog($("settings"), { settings, isMac, onClose: focus });
  return { ...shared, ...makeInput(shared), header, power, dialog };
}

function makeInput(shared) {
  const { terminal, settings, clipboard, notice } = shared;
  const pasting = new Pasting({ ...shared, onPaste: () => typing.noteUse() });
  const typing = new Typing({ ...shared, onInterrupt: () => pasting.cancel() });
  const commands = {
    copy: () => clipboard.copy(terminal.selection),
    paste: () => clipboard.read().then((text) => pasting.paste(text))
      .catch(() => notice.showDismissable("error", "The browser did not let the page read the clipboard.")),
    larger: () => settings.changeFontSize(1), smaller: () => settings.changeFontSize(-1), usual: () => settings.changeFontSize(0),
    leave: leaveTerminal,
  };
  const keyboard = new Keyboard($("keys"), { terminal, commands, canPaste: clipboard.isReadable });
  terminal.on({
    data: (data) => (isReply(data) ? typing.answered(data) : typing.typed(keyboard.withControl(data), keyboard.isRepeat)),
    mouse: (data) => typing.typed(data, keyboard.isRepeat),
    pasted: (text) => pasting.paste(text), clipboard: (data) => clipboard.requested(data),
  });
  return { typing, keyboard };
}

// Tab belongs to the shell, so there must be another way out for those who have no mouse.
function leaveTerminal() {
  const exits = ["offer-yes", "undelivered-dismiss", "notice-action", "reconnect", "open-settings"];
  $(exits.find((id) => $(id).offsetParent)).focus();
}

function takeFocus(terminal) {
  const idle = [document.body, $("reconnect"), $("notice-action"), $("power")];
  if (idle.includes(document.activeElement)) terminal.focus();
}

// A kept shell goes on in its machine; what has not been sent to it goes with the page.
function losesSomething({ connection, outbox, typing }) {
  if (connection.isKept) return !outbox.isEmpty || outbox.held > 0;
  return connection.isAttached && typing.isInUse;
}

function listen(parts) {
  const { connection, terminal, settings, notice, typing, header, power, dialog } = parts;
  const wakeUp = () => connection.wakeUp(!document.hidden);
  settings.on({ changed: () => terminal.apply(settings.values) });
  header.listen({ wakeUp, toggle: () => power.toggle(), leave: () => typing.noteUse(false), openSettings: () => dialog.open() });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { terminal.fitSoon(); wakeUp(); } });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.repeat && document.activeElement === document.body) notice.act();
  });
  window.addEventListener("online", wakeUp);
  window.addEventListener("pageshow", wakeUp);
  window.addEventListener("pagehide", () => connection.acknowledge());
  window.addEventListener("beforeunload", (event) => {        // Ctrl-W is "erase a word" in a shell, and closes a tab
    if (losesSomething(parts)) event.preventDefault();
  });
  window.visualViewport?.addEventListener("resize", () => {   // iOS: its keyboard covers the page instead of shrinking it
    document.body.style.setProperty("--height", `${visualViewport.height * visualViewport.scale}px`);
  });
}

// For tests and debugging. `aether.term` is the xterm.js Terminal, null until it is loaded: read the screen through
// aether.term.buffer.active, not the DOM, as with WebGL the text is a picture. `aether.facts` is how the page sees its
// connection now. Nothing here changes the page.
function publish({ terminal, session, status, connection, outbox, typing }) {
  window.aether = {
    get term() { return terminal.term; },
    get facts() {
      const { isOpen, isAttached, isSilent, roundTripMs, retryInMs } = connection;
      const { isEmpty: isAllSent, waiting, untaken } = outbox, { lastKeyAt } = typing, { id, isKept, offset } = session;
      return {
        status: status.name,   // a key of STATUS_WORDS
        isOpen, isAttached,    // the WebSocket is open; a shell has answered on it
        isSilent,              // a ping is unanswered
        roundTripMs, retryInMs,   // null where there is none
        isAllSent, waiting,    // no input waits in the page; bytes of it that the program in the terminal has not read
        session: id, isKept,   // in the page's address; does its shell outlive a connection, null before the server has told
        offset, untaken,       // the position in its output, null before the first; bytes of input that it has not confirmed
        isMuted: terminal.isMuted,   // the terminal gives programs no answers
        lastKeyAt,             // as performance.now() tells it
      };
    },
  };
}

// `xterm` is the promise that xterm.js is loaded.
export async function runTerminalPage(id, xterm) {
  const parts = makeTerminal(id), { status, notice, terminal, settings, keyboard, connection } = parts;
  publish(parts);
  $("terminal-view").hidden = false;
  status.become("connecting");
  try {
    await xterm;
  } catch {
    status.become("unavailable");
    notice.show({
      kind: "unavailable", label: "Reload", act: () => location.reload(),
      text: "xterm.js, which draws the terminal, could not be loaded, neither from this server nor from cdn.jsdelivr.net. "
        + "Either install npm and run ./scripts/serve, which installs it, or give this browser internet access. Then reload the page.",
    });
    return;
  }
  terminal.open({ settings: settings.values, keyPressed: (event) => keyboard.pressed(event) });
  listen(parts);
  terminal.focus();
  connection.connect();
}
