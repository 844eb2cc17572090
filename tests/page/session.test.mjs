import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";
import { newId, Session } from "../../static/page/session.js";

const UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const KNOWN = "12345678-9abc-4def-8123-456789abcdef";

function open(search) {
  const location = { pathname: "/terminal.html", search, hash: "" }, urls = [];
  const history = { state: { own: 1 }, replaceState: (state, _title, url) => { urls.push([state, url]); } };
  return { urls, session: new Session({ location, history, crypto: webcrypto }) };
}

test("an id is a random UUID, also on a page that is not secure", () => {
  const insecure = { getRandomValues: (bytes) => webcrypto.getRandomValues(bytes) };
  for (const crypto of [webcrypto, insecure]) {
    assert.match(newId(crypto), UUID);
    assert.notEqual(newId(crypto), newId(crypto));
  }
});

test("the session that the address names is that of the page, and the address stays", () => {
  const { session, urls } = open(`?machine=m&session=${KNOWN}`);
  assert.equal(session.id, KNOWN);
  assert.match(session.client, UUID);
  assert.deepEqual([session.offset, session.isKept, urls], [null, null, []]);
});

test("an address without one, or with what is none, gets one, and keeps the rest", () => {
  for (const search of ["?machine=m", "?machine=m&session=", "?machine=m&session=x/../y", `?machine=m&session=${KNOWN.toUpperCase()}`]) {
    const { session, urls } = open(search);
    assert.deepEqual(urls, [[{ own: 1 }, `/terminal.html?machine=m&session=${session.id}`]]);
    assert.match(session.id, UUID);
  }
});

test("another session has another name and begins at its beginning; the client is the same", () => {
  const { session, urls } = open(`?machine=m&session=${KNOWN}`), { client } = session;
  session.advance(70);
  assert.equal(session.offset, 70);
  session.renew();
  assert.notEqual(session.id, KNOWN);
  assert.deepEqual([session.offset, session.client], [null, client]);
  assert.deepEqual(urls, [[{ own: 1 }, `/terminal.html?machine=m&session=${session.id}`]]);
});

test("what the server tells is remembered", () => {
  const { session } = open("?machine=m");
  session.told(true);
  assert.equal(session.isKept, true);
  session.advance(5);
  session.forget();
  assert.equal(session.offset, null);
});
