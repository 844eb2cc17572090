"""A server that does nothing but answer aether's client: what the client itself takes. Argument: port.

It plays the few words the measurements type: `cat` echoes, the inside program's `bulk` sends its text.
"""

import asyncio
import json
import re
import sys

from tornado.web import Application
from tornado.websocket import WebSocketHandler

from benchlib.inside import DONE, READY, text

MESSAGE_CHARS = 16 * 1024
BULK = re.compile(r" bulk (\d+) (\d+)\r$")


class Floor(WebSocketHandler):
    """One terminal that has no shell."""

    def open(self) -> None:
        """Show a prompt."""
        self.set_nodelay(True)
        self.messages: list[str] = []
        self.show("bench>> ")

    def show(self, data: str) -> None:
        """Send output."""
        self.write_message(json.dumps({"type": "output", "data": data}, ensure_ascii=False))

    async def on_message(self, message: str | bytes) -> None:
        """Play along."""
        decoded = json.loads(message)
        if decoded["type"] != "input":
            return
        typed = decoded["data"]
        if bulk := BULK.search(typed):
            self.messages = encoded(int(bulk[1]), int(bulk[2]))
            self.show(READY.decode())
        elif typed == "g" and self.messages:
            for one in self.messages:
                await self.write_message(one)
        else:
            self.show("ready" if "cat" in typed else typed)


def encoded(size: int, chunk: int) -> list[str]:
    """Return the known text as messages of about `chunk` bytes, and no more than a server would send at once."""
    whole = (b"".join(text(size)) + DONE).decode()
    step = max(1, min(chunk * 3 // 4, MESSAGE_CHARS))
    parts = (whole[place : place + step] for place in range(0, len(whole), step))
    return [json.dumps({"type": "output", "data": part}, ensure_ascii=False) for part in parts]


async def main(port: int) -> None:
    """Serve for ever."""
    Application([(r"/", Floor)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
