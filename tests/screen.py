"""Screen: the client's end of an SSH channel, as tests read it."""

import asyncio
import re

import asyncssh

BRACKETED_PASTE = re.compile(r"\x1b\[\?2004(h|l\r)")  # readline's, around each prompt


class Screen(asyncssh.SSHClientSession):
    """A shell's output, read until a sentinel."""

    def __init__(self):
        self.text, self._came = "", asyncio.Event()
        self.is_closed = asyncio.Event()

    def connection_made(self, chan):
        self.chan = chan

    def data_received(self, data, datatype):
        self.text = BRACKETED_PASTE.sub("", self.text + data.decode())
        self._came.set()

    def connection_lost(self, exc):
        self.is_closed.set()

    async def until(self, sentinel):
        """Read until `sentinel` has come; return all that came up to it and forget it."""
        while sentinel not in self.text:
            self._came.clear()
            await self._came.wait()
        seen, _, self.text = self.text.partition(sentinel)
        return seen
