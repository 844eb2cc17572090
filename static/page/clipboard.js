// The clipboard: copy, read, and the offers of programs in the terminal (OSC 52), which need the user's consent.

import { showNote } from "./dom.js";

const MAX_CHARACTERS = 1 << 20;   // of a program's text
const OFFER_CHARACTERS = 60;      // of it that are shown

// The text that a program wants on the clipboard; "" where there is none. "?" asks for its contents: never answered.
export function offeredText(data) {
  const encoded = data.slice(data.indexOf(";") + 1);
  if (encoded === "?") return "";
  try {
    const text = new TextDecoder().decode(Uint8Array.from(atob(encoded), (byte) => byte.charCodeAt(0)));
    return text.length > MAX_CHARACTERS ? "" : text;
  } catch {
    return "";
  }
}

export function describeOffer(text) {
  const trimmed = text.trim(), start = trimmed.replace(/\s+/g, " ").slice(0, OFFER_CHARACTERS);
  const more = start.length < trimmed.length ? "…" : "";
  return `A program in the terminal wants to put text on your clipboard: “${start}${more}”`;
}

export class Clipboard {
  #offerBar;
  #system;
  #onAnswer;
  #consent = "ask";   // may programs write? ask, allowed or denied; until the page is left
  #offer = "";

  // `system` is the browser's clipboard, which only secure pages have; `onAnswer()` is called after the user answered an offer.
  constructor(offerBar, { system, onAnswer }) {
    this.#offerBar = offerBar;
    this.#system = system;
    this.#onAnswer = onAnswer;
    offerBar.querySelector("#offer-yes").onclick = () => this.#answered(true);
    offerBar.querySelector("#offer-no").onclick = () => this.#answered(false);
  }

  get isReadable() {
    return Boolean(this.#system?.readText);
  }

  // Without a clipboard of the browser's, xterm.js answers the old command's copy event.
  copy(text) {
    if (!text) return;
    if (this.#system) this.#system.writeText(text).catch(() => document.execCommand("copy"));
    else document.execCommand("copy");
  }

  // Throws where the browser does not let us.
  async read() {
    return this.#system.readText();
  }

  // A program has sent OSC 52 with this data.
  requested(data) {
    const text = offeredText(data);
    if (!text || this.#consent === "denied" || !this.#system) return;
    if (this.#consent === "allowed") this.#write(text);
    else this.#show(text);
  }

  // The shell whose program asked is gone.
  withdraw() {
    this.#show("");
  }

  #show(text) {
    this.#offer = text;
    showNote(this.#offerBar.querySelector("#offer-text"), text && describeOffer(text));
    this.#offerBar.hidden = !text;
  }

  #answered(isYes) {
    const text = this.#offer;
    this.#consent = isYes ? "allowed" : "denied";
    this.#show("");
    if (isYes) this.#write(text);
    this.#onAnswer();
  }

  #write(text) {
    this.#system?.writeText(text).catch(() => {   // some browsers want a click for each
      this.#consent = "ask";
      this.#show(text);
    });
  }
}
