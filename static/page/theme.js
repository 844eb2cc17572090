// The style sheet's colours and font as xterm.js wants them.

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const NAMES = [
  "background", "foreground", "cursor", "cursor-accent", "selection-background",
  ...COLOURS, ...COLOURS.map((colour) => `bright-${colour}`),
];

export function readTheme() {
  const camelCase = (name) => name.replace(/-(.)/, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(NAMES.map((name) => [camelCase(name), readProperty(`--term-${name}`)]));
}

export const readFont = () => readProperty("--mono");

function readProperty(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
