// What the page tells and asks: the notice above the terminal, and the dialog with a question.

import { setText, showNote } from "./dom.js";

// Kinds: "error", "paste" (progress), "idle" (a stop is near), "stopped", "exited", "gone", "unavailable".
const FLOATING = "idle";     // lies over the terminal: a new size would have the shell draw its prompt, which counts as use
const QUIET_UPDATES = "paste";   // a paste's start is read out, its progress is not

export class Notice {
  #root;
  #text;
  #button;
  #onDismiss;
  #current = null;

  // `onDismiss()` is called after a notice was dismissed.
  constructor(root, onDismiss) {
    this.#root = root;
    this.#text = root.querySelector("p");
    this.#button = root.querySelector("button");
    this.#onDismiss = onDismiss;
    this.#button.onclick = () => this.act();
  }

  get kind() {
    return this.#current?.kind ?? null;
  }

  get hasFocus() {
    return document.activeElement === this.#button;
  }

  get canAct() {
    return Boolean(this.#current?.act);
  }

  // `label` is the button's, which is hidden without one; `act` is what the button, and Enter where no shell is attached, does.
  show({ kind, text, label = "", act = null }) {
    this.#root.ariaLive = kind === QUIET_UPDATES && this.kind === QUIET_UPDATES ? "off" : "polite";
    this.#root.classList.toggle("floating", kind === FLOATING);
    setText(this.#text, text);
    setText(this.#button, label);
    this.#button.hidden = !label;
    this.#root.hidden = false;
    this.#current = { kind, act };
  }

  showDismissable(kind, text, act = () => this.dismiss()) {
    this.show({ kind, text, label: "Dismiss", act });
  }

  act() {
    this.#current?.act?.();
  }

  // What it offers has begun: one Enter, one start.
  removeAction() {
    if (this.#current) this.#current.act = null;
  }

  dismiss() {
    this.hide();
    this.#onDismiss();
  }

  hide() {
    this.#root.ariaLive = "polite";
    this.#root.classList.remove("floating");
    setText(this.#text, "");
    setText(this.#button, "");
    this.#button.hidden = true;
    this.#root.hidden = true;
    this.#current = null;
  }
}

export class Question {
  #dialog;

  constructor(dialog) {
    this.#dialog = dialog;
    this.#part("no").onclick = () => dialog.close("no");
    this.#part("yes").onclick = () => dialog.close("yes");
  }

  // Return {isYes, isSilenced} when it is answered; Escape is a no.
  ask({ title, text, preview, yes, no, isDangerous, canBeSilenced }) {
    const dialog = this.#dialog, never = this.#part("never");
    if (dialog.open) return Promise.resolve({ isYes: false, isSilenced: false });
    setText(this.#part("title"), title);
    setText(this.#part("text"), text);
    showNote(this.#part("preview"), preview);
    this.#part("silence").hidden = !canBeSilenced;
    never.checked = false;
    setText(this.#part("no"), no);
    setText(this.#part("yes"), yes);
    this.#part("yes").className = `button ${isDangerous ? "danger" : "primary"}`;
    dialog.returnValue = "";
    dialog.showModal();
    this.#part(isDangerous ? "no" : "yes").focus();
    return new Promise((answer) => {
      dialog.onclose = () => answer({ isYes: dialog.returnValue === "yes", isSilenced: never.checked });
    });
  }

  #part(name) {
    return this.#dialog.querySelector(`#ask-${name}`);
  }
}
