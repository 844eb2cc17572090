// Facts as short English text: statuses, times, sizes, progress.

const SILENT_MS = 2000;   // a ping unanswered for this long is worth mentioning
const SLOW_S = 2;         // so is a connection that takes this long to open

export const STATUS_WORDS = {
  connecting: "Connecting", starting: "Starting", connected: "Connected",
  reconnecting: "Reconnecting", restarting: "Server restarting",
  stopped: "Stopped", exited: "Shell exited", taken: "Open elsewhere", gone: "Gone", unavailable: "Unavailable",
};
const START_STEPS = { created: "getting a machine", starting: "the machine boots", running: "opening a shell" };

export function describeSpan(ms) {
  const minutes = Math.max(0, Math.floor(ms / 60000));
  if (minutes < 1) return "< 1 min";
  if (minutes < 60) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

export function describeSize({ cpu_kind, cpus, memory_mb } = {}) {
  if (!cpus) return "–";
  const memory = memory_mb >= 1024 ? `${+(memory_mb / 1024).toFixed(1)} GB` : `${memory_mb} MB`;
  return `${cpus} ${cpu_kind} CPU${cpus === 1 ? "" : "s"}, ${memory}`;
}

// What is wrong with a machine, or when it will stop; `now` is the server's time.
export function describeMachine(machine, now) {
  if (machine.error) return machine.error.message;
  if (machine.idle_stop_at) return `if unused, stops in ${describeSpan(Date.parse(machine.idle_stop_at) - now)}`;
  return "";
}

// The detail behind the status word. Times are in milliseconds; `retryInMs` and `roundTripMs` are null where there is none;
// `held` is how many characters wait for the line.
export function describeStatus({ status, waitedMs, silenceMs, roundTripMs, retryInMs, machineState, mentioned, held }) {
  const waited = Math.floor(waitedMs / 1000);
  if (status === "connected") return mentioned || describeRoundTrip(silenceMs, roundTripMs);
  if (status === "reconnecting" || status === "restarting") {
    const next = retryInMs === null ? "now…" : `in ${Math.max(1, Math.ceil(retryInMs / 1000))} s`;
    return held ? `${next}, ${describeHeld(held)}` : next;
  }
  if (status !== "starting" && !(status === "connecting" && waited >= SLOW_S)) return "";
  const step = START_STEPS[machineState];
  return step ? `${step}, ${waited} s` : `${waited} s`;
}

function describeRoundTrip(silenceMs, roundTripMs) {
  if (silenceMs > SILENT_MS) return `no answer for ${Math.floor(silenceMs / 1000)} s`;
  if (roundTripMs === null) return "";
  return `${roundTripMs < 1 ? "< 1" : Math.round(roundTripMs)} ms`;
}

function describeHeld(held) {
  return held === 1 ? "1 character waits" : `${held.toLocaleString("en")} characters wait`;
}

export function describeProgress({ sent, total }) {
  const kilo = (length) => Math.round(length / 1000).toLocaleString("en");
  return `Pasting: ${kilo(sent)} of ${kilo(total)} thousand characters.`;
}

export function describeIdleStop(leftMs) {
  return `This machine is not in use, so it stops in ${describeSpan(leftMs)}; its files stay. Press a key to keep it running.`;
}

// A session of a machine; `now` is the server's time.
export function describeSession({ command, last_used_at, is_attached }, now) {
  return `${command}, ${is_attached ? "open now" : `${describeSpan(now - Date.parse(last_used_at))} ago`}`;
}

// What separates local machines from each other, as /healthz tells it; "" for machines at Fly.
export function describeProvider({ machines }) {
  return machines ? `The machines here are ${machines}.` : "";
}

// Messages of the API are also for programs: leave out the call that starts a machine.
export function describeStop(reason) {
  const text = reason?.replace(/; start it with POST .*/, ".");
  return `${text || "The machine is stopped."} Press Enter to start it.`;
}
