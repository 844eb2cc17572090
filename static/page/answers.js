// The terminal's answers to programs, which can be muted: what was asked before, of another terminal, is not answered again.

// What xterm.js answers from its parser, and what it may learn to: device attributes, status and cursor, modes, version, window,
// keyboard protocol.
const QUERIES = [
  { final: "c" }, { prefix: ">", final: "c" }, { prefix: "=", final: "c" },
  { final: "n" }, { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" }, { prefix: "?", intermediates: "$", final: "p" },
  { prefix: ">", final: "q" }, { final: "t" }, { prefix: "?", final: "u" },
];
const STATUS_STRING = { intermediates: "$", final: "q" };   // DECRQSS, a DCS

// Reports of the focus, the mouse and colours come with a mode or with colours that must be set all the same. No key sends these,
// while Shift-F3 and the cursor's position look alike.
const REPORT = /^\x1b(\[[IOM<]|\]\d)/;

// Switch `isMuted` only when the parser is where it is to begin, or to end.
export class Answers {
  isMuted = false;

  // `parser` is xterm.js's: a handler that returns true is the last to see a sequence.
  constructor(parser) {
    const isSwallowed = () => this.isMuted;
    for (const query of QUERIES) parser.registerCsiHandler(query, isSwallowed);
    parser.registerDcsHandler(STATUS_STRING, isSwallowed);
  }

  // Is this, which the terminal sends, to go nowhere?
  swallows(data) {
    return this.isMuted && REPORT.test(data);
  }
}
