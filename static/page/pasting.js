// A paste on its way: asked about, sent, shown, cancelled.

import { describeProgress } from "./describe.js";
import { harmless, mustAskBefore, pasteInput, pasteQuestion } from "./paste.js";

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
    const shell = this.#connection.shell;
    const text = harmless(foreign);
    if (!text || !shell) return;
    if (!(await this.#isWanted(text))) return;
    if (this.#connection.shell !== shell) {
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
