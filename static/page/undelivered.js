// What was typed and has reached no shell: shown, and never sent to another.

import { showNote } from "./dom.js";
import { harmless } from "./paste.js";

const PREVIEW_CHARACTERS = 200;

export function describeUndelivered(text) {
  const shown = harmless(text).replace(/\n/g, "⏎").replace(/\t/g, "⇥"), characters = [...shown];
  const more = characters.length > PREVIEW_CHARACTERS ? ` … (${characters.length.toLocaleString("en")} characters)` : "";
  return `Typed, but not delivered to any shell: “${characters.slice(0, PREVIEW_CHARACTERS).join("")}”${more}`;
}

export class Undelivered {
  #bar;
  #onDismiss;
  #text = "";

  // `onDismiss()` is called after the user has dismissed it.
  constructor(bar, onDismiss) {
    this.#bar = bar;
    this.#onDismiss = onDismiss;
    bar.querySelector("button").onclick = () => this.#dismiss();
  }

  // A text is shown below what is shown already; "" is none.
  show(text) {
    this.#text += text;
    showNote(this.#bar.querySelector("p"), this.#text && describeUndelivered(this.#text));
    this.#bar.hidden = !this.#text;
  }

  #dismiss() {
    this.#text = "";
    this.show("");
    this.#onDismiss();
  }
}
