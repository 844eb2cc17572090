// From the outbox to the shell: what the connection's events mean for the input that is on its way.

import { HELD_BYTES } from "./outbox.js";

const REFUSED = `The connection is down, and ${HELD_BYTES / 1024} KiB wait for it: what is typed now is not taken.`;

// Connect an outbox with its connection. What cannot be delivered any more is shown by `undelivered`.
export function deliver({ connection, outbox, undelivered, notice }) {
  connection.on({
    pong: (message) => outbox.confirm(message),
    confirmed: ({ offset }) => outbox.taken(offset),
    interrupted: () => outbox.hold(),
    kept: ({ taken }) => undelivered.show(outbox.resume(taken)),
    replaced: () => undelivered.show(outbox.surrender()),
    taken: () => undelivered.show(outbox.surrender()),
    lost: () => undelivered.show(outbox.clear()),
  });
  outbox.on({ refused: () => notice.showDismissable("error", REFUSED) });
}
