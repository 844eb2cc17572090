// The terminal as it is drawn: xterm.js with its add-ons, its size, its colours and its links.

import { Answers } from "./answers.js";
import { Timer } from "./clock.js";
import { Drawing } from "./drawing.js";
import { Events } from "./events.js";

const COLS = [2, 500], ROWS = [1, 300];   // what the server takes
const DEBOUNCE_MS = 100;
const OSC_CLIPBOARD = 52;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const NAMES = [
  "background", "foreground", "cursor", "cursor-accent", "selection-background",
  ...COLOURS, ...COLOURS.map((colour) => `bright-${colour}`),
];

const clamp = (n, [least, most]) => Math.min(most, Math.max(least, n));

// Emits data(text) for keys and for answers to programs, mouse(text) for mouse reports of the old kind (those beyond column 95
// are not text and are left out), resized, titled(text), pasted(text), clipboard(data) for OSC 52.
export class TerminalView extends Events {
  #box;
  #links;
  #fitTimer;
  #fitAddon;
  #term = null;
  #drawing = null;
  #answers = null;
  #size = null;        // that fits the box
  #isHeld = false;     // the terminal has another, of a time before

  constructor(box, { clock, links }) {
    super();
    this.#box = box;
    this.#links = links;
    this.#fitTimer = new Timer(clock);
  }

  // The xterm.js Terminal; null until `open`.
  get term() {
    return this.#term;
  }

  // What writes to it; null until `open`.
  get drawing() {
    return this.#drawing;
  }

  // The size that fits the box, also while a replay draws at another.
  get size() {
    return this.#size;
  }

  // The answers to programs are swallowed.
  get isMuted() {
    return Boolean(this.#answers?.isMuted);
  }

  get selection() {
    return this.#term.getSelection();
  }

  get hasBracketedPaste() {
    return this.#term.modes.bracketedPasteMode;
  }

  get hasApplicationCursorKeys() {
    return Boolean(this.#term?.modes.applicationCursorKeysMode);
  }

  // xterm.js must be loaded. `keyPressed(event)` returns false for keys that xterm.js must leave alone.
  open({ settings, keyPressed }) {
    const term = this.#term = new Terminal(this.#options(settings));
    this.#drawing = new Drawing(term);
    this.#answers = new Answers(term.parser);
    this.#size = { cols: term.cols, rows: term.rows };
    term.loadAddon(this.#fitAddon = new FitAddon.FitAddon());
    this.#loadTextAddons();
    term.open(this.#box);
    this.#loadWebgl();
    this.apply(settings);
    term.attachCustomKeyEventHandler(keyPressed);
    this.#listen();
  }

  apply({ fontSize, isForReader, optionIsMeta }) {
    Object.assign(this.#term.options, { fontSize, screenReaderMode: isForReader, macOptionIsMeta: optionIsMeta });
    this.fit();
  }

  fit() {
    const box = this.#box;
    if (document.hidden || !box.offsetWidth || !box.offsetHeight) return;   // a hidden box measures as 2×1
    const size = this.#fitAddon.proposeDimensions();
    if (!size || !(size.cols > 0) || !(size.rows > 0)) return;
    this.#size = { cols: clamp(size.cols, COLS), rows: clamp(size.rows, ROWS) };
    if (!this.#isHeld) this.#resize(this.#size);
  }

  fitSoon() {
    this.#fitTimer.start(() => this.fit(), DEBOUNCE_MS);
  }

  // From here on programs get no answers, or get them again.
  mute(isMuted) {
    this.#drawing.after(() => { this.#answers.isMuted = isMuted; });
  }

  // Do not follow the box, and take sizes from `resizeTo`.
  holdSize() {
    this.#isHeld = true;
  }

  resizeTo(size) {
    this.#drawing.after(() => { if (this.#isHeld) this.#resize(size); });
  }

  releaseSize() {
    this.#isHeld = false;
    this.fit();
  }

  // Text as if it were typed: xterm.js scrolls down to it, and emits it as data.
  input(text) {
    this.#term?.input(text);
  }

  focus() {
    this.#term?.focus();
  }

  scrollToBottom() {
    this.#term.scrollToBottom();
  }

  #resize({ cols, rows }) {
    if (cols !== this.#term.cols || rows !== this.#term.rows) this.#term.resize(cols, rows);
  }

  #options({ fontSize }) {
    return {
      allowProposedApi: true,   // term.unicode
      fontFamily: readFont(), fontSize, lineHeight: 1.15,   // at 1 many fonts lose their underscores below the row
      scrollback: 10000, minimumContrastRatio: 4.5, theme: readTheme(),
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      linkHandler: this.#links,   // OSC 8
    };
  }

  #loadTextAddons() {
    if (window.Unicode11Addon) {           // emoji are two cells wide, as programs expect
      this.#term.loadAddon(new Unicode11Addon.Unicode11Addon());
      this.#term.unicode.activeVersion = "11";
    }
    const { activate, ...hovering } = this.#links;
    if (window.WebLinksAddon) this.#term.loadAddon(new WebLinksAddon.WebLinksAddon(activate, hovering));
  }

  #loadWebgl() {
    try {
      const webgl = new WebglAddon.WebglAddon();
      webgl.onContextLoss(() => {        // drivers restart, browsers limit contexts: the DOM renderer takes over
        try { webgl.dispose(); } catch { /* already half gone */ }
        this.#term.refresh(0, this.#term.rows - 1);
        this.fitSoon();
      });
      this.#term.loadAddon(webgl);       // after open(): before, "no WebGL" would be thrown out of our reach
    } catch { /* no WebGL here: the DOM renderer stays */ }
  }

  #listen() {
    const term = this.#term;
    term.onData((data) => { if (!this.#answers.swallows(data)) this.emit("data", data); });
    term.onBinary((data) => { if (!this.isMuted && !/[^\x00-\x7f]/.test(data)) this.emit("mouse", data); });
    term.onResize(() => { if (!this.#isHeld) this.emit("resized"); });
    term.onTitleChange((title) => this.emit("titled", title));
    term.parser.registerOscHandler(OSC_CLIPBOARD, (data) => {
      if (!this.isMuted) this.emit("clipboard", data);
      return true;   // no other handler is to see it
    });
    this.#box.addEventListener("paste", (event) => {
      event.preventDefault();
      event.stopImmediatePropagation();
      this.emit("pasted", event.clipboardData?.getData("text/plain") || "");
    }, true);   // in the capture phase: before xterm.js's own listeners
    new ResizeObserver(() => this.fitSoon()).observe(this.#box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { term.options.theme = readTheme(); });
  }
}

// The address to open, or null for what is no web page.
export function webAddress(text) {
  try {
    const { protocol, href } = new URL(text);
    return protocol === "http:" || protocol === "https:" ? href : null;
  } catch {
    return null;
  }
}

// What xterm.js wants of a handler of links; `box` shows the target as its tooltip.
export function linkHandler({ box, isMac }) {
  return {
    activate(event, text) {
      const address = webAddress(text);
      if (address && (event.ctrlKey || event.metaKey)) window.open(address, "_blank", "noopener,noreferrer");
    },
    hover(_event, text) {
      box.title = `${text}\n${isMac ? "Cmd" : "Ctrl"}-click opens it`;
    },
    leave() {
      box.removeAttribute("title");
    },
  };
}

function readTheme() {
  const camelCase = (name) => name.replace(/-(.)/, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(NAMES.map((name) => [camelCase(name), readProperty(`--term-${name}`)]));
}

const readFont = () => readProperty("--mono");

function readProperty(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
