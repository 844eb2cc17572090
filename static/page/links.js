// Links that a program writes: shown before they are followed, and followed only with a modifier key.

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
