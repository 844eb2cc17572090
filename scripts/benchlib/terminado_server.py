"""The smallest server terminado's documentation shows; arguments: port, shell."""

import asyncio
import sys

from terminado import TermSocket, UniqueTermManager
from tornado.web import Application


async def main(port: int, shell: str) -> None:
    """Serve for ever."""
    manager = UniqueTermManager(shell_command=[shell], max_terminals=2000)
    Application([(r"/websocket", TermSocket, {"term_manager": manager})]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
