import assert from "node:assert/strict";
import { test } from "node:test";
import { Events } from "../../static/page/events.js";

test("listeners are called in the order in which they came, with all values; others' events are not theirs", () => {
  const source = new Events(), seen = [];
  source.on({ opened: (one, two) => seen.push(["first", one, two]) });
  source.on({ opened: (one) => seen.push(["second", one]), closed: () => seen.push(["closed"]) });
  source.emit("opened", 1, 2);
  source.emit("nothing");
  source.emit("closed");
  assert.deepEqual(seen, [["first", 1, 2], ["second", 1], ["closed"]]);
});
