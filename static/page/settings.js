// The user's settings, remembered by the browser, and their dialog.

import { setText } from "./dom.js";
import { Events } from "./events.js";

const KEY = "aether";
const FONT_SIZE = { usual: 14, least: 8, most: 32 };
const DEFAULTS = { fontSize: FONT_SIZE.usual, asksBeforePaste: true, isForReader: false, optionIsMeta: false };
const CHECKBOXES = { "set-ask": "asksBeforePaste", "set-reader": "isForReader", "set-option": "optionIsMeta" };

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

export class SettingsDialog {
  #dialog;
  #settings;

  // `onClose()` is called when the user is done.
  constructor(dialog, { settings, isMac, onClose }) {
    this.#dialog = dialog;
    this.#settings = settings;
    dialog.onclose = onClose;
    this.#part("settings-close").onclick = () => dialog.close();
    this.#part("font-smaller").onclick = () => settings.changeFontSize(-1);
    this.#part("font-larger").onclick = () => settings.changeFontSize(1);
    this.#part("option-label").hidden = !isMac;
    for (const [id, name] of Object.entries(CHECKBOXES)) {
      this.#part(id).onchange = (event) => settings.change(name, event.target.checked);
    }
    settings.on({ changed: () => this.#fill() });
    this.#fill();
  }

  open() {
    this.#dialog.showModal();
  }

  #fill() {
    const values = this.#settings.values;
    setText(this.#part("font-size"), String(values.fontSize));
    for (const [id, name] of Object.entries(CHECKBOXES)) this.#part(id).checked = values[name];
  }

  #part(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}
