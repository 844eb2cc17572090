// What page and server have agreed on: close codes, reasons, and paths of the API.

export const CLOSED = {
  normal: 1000, abnormal: 1006, restarting: 1012, gone: 4404, notRunning: 4409, stopped: 4410, limit: 4429,
};

// Tornado closes a dead connection with code 1000 and this reason; that is no normal exit.
export const PING_TIMED_OUT = "ping timed out";

export const machinePath = (id, what = "") => `/machines/${encodeURIComponent(id)}${what}`;
export const terminalUrl = (id) => `/terminal.html?machine=${encodeURIComponent(id)}`;

export function socketUrl({ protocol, host }, id, { cols, rows }, isReconnect) {
  const scheme = protocol === "https:" ? "wss:" : "ws:";
  const again = isReconnect ? "&reconnect=1" : "";
  return `${scheme}//${host}${machinePath(id, "/terminal")}?cols=${cols}&rows=${rows}${again}`;
}
