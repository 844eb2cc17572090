// The dialog that asks one question; two at once are never asked.

import { setText, showNote } from "./dom.js";

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
