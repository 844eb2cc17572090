import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../static/page/machine.js";
import { listen } from "./fakes.mjs";

test("what the API answers to a question, a start or a stop is taken, and told", async () => {
  const calls = [];
  const machine = new Machine({ api: { call: async (...call) => { calls.push(call); return { id: "x", state: call[1] }; } }, id: "x" });
  const seen = listen(machine, "changed");
  assert.equal(machine.json, null);
  await machine.read();
  await machine.start();
  await machine.stop();
  assert.deepEqual(calls, [["GET", "/machines/x"], ["POST", "/machines/x/start"], ["POST", "/machines/x/stop"]]);
  assert.equal(machine.json.state, "/machines/x/stop");
  assert.equal(seen.length, 3);
});

test("a peek takes nothing, and is null where the API does not answer", async () => {
  let isBroken = false;
  const call = async () => { if (isBroken) throw new Error("no answer"); return { id: "x" }; };
  const machine = new Machine({ api: { call }, id: "x" });
  assert.deepEqual(await machine.peek(), { id: "x" });
  isBroken = true;
  assert.equal(await machine.peek(), null);
  assert.equal(machine.json, null);
});
