// Keys before they are typed: the page's shortcuts, and the bar with the keys that phones lack.

import { keySequence, shortcut, withControl } from "./keys.js";

export class Keyboard {
  #bar;
  #terminal;
  #commands;
  #isRepeat = false;
  #hasControl = false;   // the bar's Ctrl is down until the next key, wherever that comes from

  // `commands` does what a shortcut or button is called: copy, larger, smaller, usual, leave, paste.
  constructor(bar, { terminal, commands, canPaste }) {
    this.#bar = bar;
    this.#terminal = terminal;
    this.#commands = { ...commands, newline: () => this.#type("\n") };   // LF: a new line in programs that tell it from CR
    this.#button("paste").hidden = !canPaste;
    for (const button of bar.querySelectorAll("button")) {
      button.onpointerdown = (event) => event.preventDefault();   // the terminal keeps the focus, and the phone its keyboard
      button.onclick = () => this.#barPressed(button.dataset.key);
    }
  }

  // The last key is being held down.
  get isRepeat() {
    return this.#isRepeat;
  }

  // Return false for keys that xterm.js must leave alone.
  pressed(event) {
    if (event.type !== "keydown" || event.isComposing) return true;
    this.#isRepeat = event.repeat;
    const name = shortcut(event);
    if (!name) return true;
    if (name !== "paste") {    // the browser pastes by itself: a paste event follows
      event.preventDefault();  // else Ctrl-Shift-C opens the browser's inspector
      this.#commands[name]();
    }
    return false;
  }

  // What was typed, with the bar's Ctrl, which it ends.
  withControl(data) {
    if (!this.#hasControl || data.length !== 1) return data;
    this.#holdControl(false);
    return withControl(data);
  }

  #type(text) {
    this.#isRepeat = false;
    this.#terminal.input(text);
  }

  #barPressed(name) {
    if (name === "control") return this.#holdControl(!this.#hasControl);
    if (name === "paste") return this.#commands.paste();
    const sequence = keySequence(name, { hasControl: this.#hasControl, isApplication: this.#terminal.hasApplicationCursorKeys });
    this.#holdControl(false);
    this.#type(sequence);
  }

  #holdControl(isHeld) {
    this.#hasControl = isHeld;
    this.#button("control").ariaPressed = String(isHeld);
  }

  #button(name) {
    return this.#bar.querySelector(`[data-key=${name}]`);
  }
}
