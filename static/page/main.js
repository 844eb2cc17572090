// The page begins here: with the terminal of the machine that the address names, or else with the start page.

import { loadXterm } from "./xterm-files.js";

// xterm.js and the other modules are loaded at the same time.
async function load(machineId) {
  if (!machineId) return (await import("./start.js")).runStartPage;
  const xterm = loadXterm();
  xterm.catch(() => {});   // the terminal's page waits for it, and reports its failure
  const { runTerminalPage } = await import("./terminal-main.js");
  return () => runTerminalPage(machineId, xterm);
}

const loading = document.getElementById("loading");
load(new URLSearchParams(location.search).get("machine")).then((run) => {
  run();
  loading.remove();
}).catch((error) => {
  loading.style.visibility = "visible";   // a module is missing, or fails
  throw error;                            // for the console
});
