import assert from "node:assert/strict";
import { test } from "node:test";
import { Sessions } from "../../static/page/sessions.js";
import { settle } from "./fakes.mjs";

const running = (id) => ({ id, state: "running", sessions: { kept: true, reason: null } });

// `answers` are by path: a promise, or what is returned at once.
function open(answers) {
  const calls = [], shown = [];
  const api = { call: async (method, path) => { calls.push(`${method} ${path}`); return answers[path]; } };
  return { calls, shown, sessions: new Sessions(api), show: (id, list) => shown.push([id, list]) };
}

test("running machines that keep sessions are asked for them, and no others", async () => {
  const { calls, shown, sessions, show } = open({ "/machines/a/sessions": { sessions: ["one"] } });
  const others = [
    { id: "b", state: "stopped", sessions: { kept: true } }, { id: "c", state: "running", sessions: { kept: false, reason: "no python3" } },
  ];
  await sessions.read([running("a"), ...others], show);
  assert.deepEqual(calls, ["GET /machines/a/sessions"]);
  assert.deepEqual(shown, [["b", []], ["c", []], ["a", ["one"]]]);
});

test("a machine of which the server knows nothing yet is asked: an earlier server may have opened its sessions", async () => {
  const { shown, sessions, show } = open({ "/machines/d/sessions": { sessions: ["one"] } });
  await sessions.read([{ id: "d", state: "running", sessions: { kept: null, reason: null } }], show);
  assert.deepEqual(shown, [["d", ["one"]]]);
});

test("a machine whose list cannot be had disturbs no other, and keeps what is shown", async () => {
  const failure = Promise.reject(new Error("out of order"));
  const { shown, sessions, show } = open({ "/machines/a/sessions": failure, "/machines/b/sessions": { sessions: [] } });
  await sessions.read([running("a"), running("b")], show);
  assert.deepEqual(shown, [["b", []]]);
});

test("a slow answer is waited for, not asked for again", async () => {
  let answer;
  const { calls, shown, sessions, show } = open({ "/machines/a/sessions": new Promise((done) => { answer = done; }) });
  const reading = sessions.read([running("a")], show);
  await sessions.read([running("a")], show);
  assert.equal(calls.length, 1);
  answer({ sessions: [] });
  await reading;
  await settle();
  assert.deepEqual(shown, [["a", []]]);
  await sessions.read([running("a")], show);
  assert.equal(calls.length, 2);
});

test("a session is ended by its name", async () => {
  const { calls, sessions } = open({});
  await sessions.end("m", "s");
  assert.deepEqual(calls, ["DELETE /machines/m/sessions/s"]);
});
