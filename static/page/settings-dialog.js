// The dialog of the settings.

import { setText } from "./dom.js";

const CHECKBOXES = { "set-ask": "asksBeforePaste", "set-reader": "isForReader", "set-option": "optionIsMeta" };

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
