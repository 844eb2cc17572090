// The user's settings, remembered by the browser.

import { Events } from "./events.js";

const KEY = "aether";
const FONT_SIZE = { usual: 14, least: 8, most: 32 };
const DEFAULTS = { fontSize: FONT_SIZE.usual, asksBeforePaste: true, isForReader: false, optionIsMeta: false };

const clampFont = (size) => Math.min(FONT_SIZE.most, Math.max(FONT_SIZE.least, size));

// Emits `changed` after each change.
export class Settings extends Events {
  #getStorage;
  #values;

  // `getStorage()` returns the browser's Storage, or throws where there is none.
  constructor(getStorage) {
    super();
    this.#getStorage = getStorage;
    this.#values = { ...DEFAULTS, ...this.#read() };
  }

  get values() {
    return { ...this.#values };
  }

  change(name, value) {
    this.#values[name] = value;
    try {
      this.#getStorage().setItem(KEY, JSON.stringify(this.#values));
    } catch { /* then it lasts as long as this page */ }
    this.emit("changed");
  }

  // By how many pixels; 0 is the usual size again.
  changeFontSize(by) {
    this.change("fontSize", by ? clampFont(this.#values.fontSize + by) : FONT_SIZE.usual);
  }

  #read() {
    try {
      const found = JSON.parse(this.#getStorage().getItem(KEY)) || {};
      return { ...found, fontSize: clampFont(Number(found.fontSize) || FONT_SIZE.usual) };
    } catch {
      return {};   // no storage here, or what is stored is not ours
    }
  }
}
