// What page and server have agreed on: close codes, reasons, and paths of the API.

export const CLOSED = {
  normal: 1000, abnormal: 1006, restarting: 1012, gone: 4404, notRunning: 4409, stopped: 4410, taken: 4411, limit: 4429,
};

// Tornado closes a dead connection with code 1000 and this reason; that is no normal exit.
export const PING_TIMED_OUT = "ping timed out";

export const machinePath = (id, what = "") => `/machines/${encodeURIComponent(id)}${what}`;
export const sessionPath = (id, session) => machinePath(id, `/sessions/${encodeURIComponent(session)}`);

export function terminalUrl(id, session) {
  const which = session ? `&session=${encodeURIComponent(session)}` : "";
  return `/terminal.html?machine=${encodeURIComponent(id)}${which}`;
}

// `offset` is null where no output of the session has been drawn; `isReconnect`: a shell was lost.
export function socketUrl({ protocol, host }, id, { cols, rows }, { session, client, offset, isReconnect }) {
  const scheme = protocol === "https:" ? "wss:" : "ws:";
  const query = new URLSearchParams({ cols, rows, session, client });
  if (offset !== null) query.set("offset", offset);
  if (isReconnect) query.set("reconnect", "1");
  return `${scheme}//${host}${machinePath(id, "/terminal")}?${query}`;
}
