#!/usr/bin/env python3
"""aether's server: parse settings, build the application, serve until a signal, shut down in order."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from aether.app import Aether
from aether.emulator.errors import EmulatorError
from aether.errors import AetherError
from aether.settings import Settings, SettingsError, load
from aether.ssh.keys import UserKeyError

STOP_TIMEOUT_S = 20.0
DESCRIPTORS = 65536
BACKLOG = 1024  # all terminals come back at once; who finds no place tries again after a second, three, seven ...
GC_THRESHOLD = 20_000  # new objects before a collection; Python's 700 are less than twenty keys
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON_KEYS = ("time", "level", "logger", "message", "exception")
log = logging.getLogger("aether.server")


class LogFormatter(JsonFormatter):
    """One JSON object a line, for log collectors; of a record only what JSON_KEYS names."""

    def __init__(self) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"}
        formats = " ".join(f"%({key})s" for key in ("asctime", "levelname", "name", "message"))
        super().__init__(formats, datefmt="%Y-%m-%dT%H:%M:%SZ", rename_fields=names, json_ensure_ascii=False)
        self.converter = time.gmtime

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out what libraries attach to their records, such as asyncssh its packets."""
        return {key: log_data[key] for key in JSON_KEYS if key in log_data}


def main() -> None:
    """Run the server; exit 0 after a signal, 1 when it cannot start, 2 when the settings are wrong."""
    try:
        settings = load(sys.argv[1:])
    except SettingsError as error:
        sys.exit(_complain(str(error), 2))
    _configure_log(settings.log_format)
    _allow_descriptors()
    os.environ.setdefault("LOGNAME", "aether")  # asyncssh needs a user name, which a container's user may lack
    sys.exit(asyncio.run(serve(settings)))


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        sockets = bind_sockets(settings.port, settings.address, backlog=BACKLOG)
    except OSError as error:
        return _complain(_cannot_listen(settings, error), 1)
    aether = Aether(settings)
    try:
        if not await _start(aether, stopping):
            return 0
    except (AetherError, EmulatorError, UserKeyError, OSError) as error:
        return _complain(str(error), 1)
    _spare_garbage_collections()
    server = HTTPServer(aether.application)
    server.add_sockets(sockets)
    print(f"aether: open {_url(settings, sockets[0])} — {aether.where()}", flush=True)
    await stopping.wait()
    return await _stop_in_time(server, aether)


async def _start(aether: Aether, stopping: asyncio.Event) -> bool:
    """Start the program; a signal meanwhile ends that, and then False is returned."""
    starting = asyncio.create_task(aether.start(), name="start")
    signalled = asyncio.create_task(stopping.wait(), name="signal")
    await asyncio.wait([starting, signalled], return_when=asyncio.FIRST_COMPLETED)
    for task in (starting, signalled):
        task.cancel()
    await asyncio.wait([starting, signalled])
    if starting.cancelled():
        return False
    starting.result()
    return True


async def _stop_in_time(server: HTTPServer, aether: Aether) -> int:
    log.info("stopping")
    try:
        await asyncio.wait_for(stop(server, aether), STOP_TIMEOUT_S)
    except TimeoutError:
        return _complain(
            f"did not stop within {STOP_TIMEOUT_S:.0f} s; local machines are killed when the server exits", 1
        )
    return 0


async def stop(server: HTTPServer, aether: Aether) -> None:
    """Take no more connections, end terminals and local machines, then let the last answers out."""
    server.stop()
    await aether.stop()
    await server.close_all_connections()


def _cannot_listen(settings: Settings, error: OSError) -> str:
    return (
        f"cannot listen on {settings.address} port {settings.port}: {error.strerror}; "
        f"try --port {settings.port + 1}, or --port 0 for any free one"
    )


def _url(settings: Settings, listening: socket.socket) -> str:
    host = f"[{settings.address}]" if ":" in settings.address else settings.address
    return f"http://{host}:{listening.getsockname()[1]}/"


def _spare_garbage_collections() -> None:
    """Collect garbage rarely, and never look again at what is there at the start: an echo would wait for that."""
    gc.set_threshold(GC_THRESHOLD)
    gc.freeze()


def _allow_descriptors() -> None:
    """Have a descriptor for each terminal: most systems allow 1024 unless asked, too few for AETHER_MAX_SESSIONS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a limit below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _configure_log(log_format: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter() if log_format == "json" else logging.Formatter(TEXT_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # a client's mistake is told to the client


def _complain(text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"aether: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
