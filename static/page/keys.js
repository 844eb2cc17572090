// What keys mean: shortcuts, the bar of keys that phones lack, bursts of typing, and what no key has sent.

const PAUSE_MS = 500;   // a pause this long ends a burst of keys

// xterm.js's own answers to a program: device attributes, cursor position, colours, focus.
const REPLY = /^\x1b(\[[?>]?[\d;]*(c|n|R|t|\$y)|\[[IO]|[\]P].*)$/s;
const ARROWS = { up: "A", down: "B", right: "C", left: "D" };
const PLAIN = { escape: "\x1b", tab: "\t" };

export const isReply = (data) => REPLY.test(data);

// The name of what a key event asks for, or null. Plain Ctrl-C is no shortcut: it is the shell's SIGINT.
export function shortcut({ ctrlKey, shiftKey, altKey, metaKey, key, code }) {
  if (altKey) return null;
  if (key === "Enter" && shiftKey && !metaKey) return ctrlKey ? "leave" : "newline";
  if (ctrlKey === metaKey) return null;       // Ctrl, or Cmd on a Mac
  // The key's position where it writes no Latin letter.
  const letter = /^[a-z]$/i.test(key) ? key.toUpperCase() : code.replace("Key", "");
  if (shiftKey && letter === "C") return "copy";
  if (shiftKey && letter === "V") return "paste";
  return { "+": "larger", "=": "larger", "-": "smaller", "0": "usual" }[key] ?? null;
}

// What a button of the key bar sends.
export function keySequence(name, { hasControl, isApplication }) {
  const arrow = ARROWS[name];
  if (!arrow) return PLAIN[name];
  if (hasControl) return `\x1b[1;5${arrow}`;
  return `${isApplication ? "\x1bO" : "\x1b["}${arrow}`;
}

// One typed character with Ctrl held; others stay as they are.
export function withControl(data) {
  return /^[a-z@[\\\]^_ ]$/i.test(data) ? String.fromCharCode(data.toUpperCase().charCodeAt(0) & 0x1f) : data;
}

// A burst of keys belongs to the shell it began in. What was typed at a lost shell, or at none, must not reach a new one, and
// neither must the second half of a command: after "echo " is lost, "rm -rf x" is another command.
export class Bursts {
  #clock;
  #lastAt = -Infinity;
  #shell = null;

  constructor(clock) {
    this.#clock = clock;
  }

  get lastAt() {
    return this.#lastAt;
  }

  // Note a key typed at `shell`, null where there is none; return whether it begins a burst.
  note(shell) {
    const now = this.#clock.now();
    const isNew = now - this.#lastAt > PAUSE_MS;
    if (isNew) this.#shell = shell;
    this.#lastAt = now;
    return isNew;
  }

  belongsTo(shell) {
    return this.#shell === shell;
  }

  // The next key begins a new burst.
  end() {
    this.#lastAt = -Infinity;
  }
}

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
