// A paste: made safe, asked about, sent, shown and cancelled.

import { describeProgress } from "./describe.js";

const PREVIEW = { lines: 100, characters: 5000 };

// Pasted text may hide control characters: an ESC that ends bracketed paste early, a Ctrl-C that ends the line. They are
// replaced by their pictures. Half a surrogate pair is replaced, too: the server would refuse the whole message.
export function harmless(text) {
  return text.replace(/\p{Cs}/gu, "\ufffd").replace(/\r\n?/g, "\n")
    .replace(/[\x00-\x08\x0b-\x1f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)))
    .replace(/\x7f/g, "\u2421").replace(/\x9b/g, "\u241b").replace(/[\x80-\x9f]/g, "\ufffd");
}

// With bracketed paste one line waits for Enter. Several are asked about even then: tmux understands bracketed paste, and a
// shell inside it may run them. Without it each end of a line is an Enter.
export function mustAskBefore(text, isBracketed) {
  return isBracketed ? text.trimEnd().includes("\n") : text.includes("\n");
}

export function pasteQuestion(text) {
  const lines = text.trimEnd().split("\n");
  return {
    title: lines.length === 1 ? "Paste a line and run it?" : `Paste ${lines.length.toLocaleString("en")} lines?`,
    text: "What the terminal shows may run each line as a command.",
    preview: lines.slice(0, PREVIEW.lines).join("\n").slice(0, PREVIEW.characters),
    yes: "Paste", no: "Cancel", canBeSilenced: true,
  };
}

// The text as the terminal sends it: {text, tail}, where the tail must follow even a cancelled text.
export function pasteInput(text, isBracketed) {
  const [head, tail] = isBracketed ? ["\x1b[200~", "\x1b[201~"] : ["", ""];
  return { text: head + text.replace(/\n/g, "\r"), tail };
}

export class Pasting {
  #connection;
  #outbox;
  #terminal;
  #settings;
  #notice;
  #question;
  #onPaste;

  // `onPaste()` is called when text goes to the shell.
  constructor({ connection, outbox, terminal, settings, notice, question, onPaste }) {
    this.#connection = connection;
    this.#outbox = outbox;
    this.#terminal = terminal;
    this.#settings = settings;
    this.#notice = notice;
    this.#question = question;
    this.#onPaste = onPaste;
    outbox.on({ changed: () => this.#showProgress() });
  }

  async paste(foreign) {
    const shell = this.#connection.recipient;
    const text = harmless(foreign);
    if (!text || !shell) return;
    if (!(await this.#isWanted(text))) return;
    if (this.#connection.recipient !== shell) {
      this.#notice.showDismissable("error", "The connection was lost meanwhile; nothing was pasted.");
      return;
    }
    this.#onPaste();
    const input = pasteInput(text, this.#terminal.hasBracketedPaste);
    this.#outbox.add(input.text, input.tail);
    this.#terminal.scrollToBottom();
    this.#terminal.focus();
  }

  cancel() {
    if (this.#outbox.isEmpty) return;
    this.#outbox.cancel();
    this.#terminal.focus();
  }

  async #isWanted(text) {
    if (!this.#settings.values.asksBeforePaste || !mustAskBefore(text, this.#terminal.hasBracketedPaste)) return true;
    const { isYes, isSilenced } = await this.#question.ask(pasteQuestion(text));
    if (isYes && isSilenced) this.#settings.change("asksBeforePaste", false);
    return isYes;
  }

  #showProgress() {
    const progress = this.#outbox.progress, notice = this.#notice;
    if (progress) notice.show({ kind: "paste", text: describeProgress(progress), label: "Cancel", act: () => this.cancel() });
    else if (notice.kind === "paste") {
      const hadFocus = notice.hasFocus;
      notice.hide();
      if (hadFocus) this.#terminal.focus();   // else the next keys would reach nothing
    }
  }
}
