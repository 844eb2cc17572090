"""PtyHost: the PTY host of one machine, found, started and installed over SSH; see `infra/images/base/pty_host.py`."""

import asyncio
import contextlib
import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from aether.errors import ProviderTimeout, SessionNotFound, SshError
from aether.host_file import PtyHostFile
from aether.schemas import HOST_SESSIONS_SCHEMA
from aether.ssh.connection import SocketRefused
from aether.ssh.pool import ConnectionPool
from aether.terminals.frames import SPOKEN, FrameError, decode, frame, json_frame
from aether.terminals.host_channel import HostChannel, Question
from aether.terminals.session_info import SessionInfo

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 10.0
LOOK_S = 30.0  # how often to look for a host that another server may have started
ANSWER_BYTES = 1 << 20  # more than a list of all sessions
NO_PYTHON, NOT_INSTALLED = 97, 96  # exit statuses of the launcher
_FIND = 'n={name}; f=/usr/local/lib/aether/$n; [ -r "$f" ] || f="$HOME/.cache/aether/$n"; '
_RUN = (
    f'command -v python3 >/dev/null || exit {NO_PYTHON}; [ -r "$f" ] || exit {NOT_INSTALLED}; exec python3 -ISOO "$f" '
)
_INSTALL = 'umask 077; d="$HOME/.cache/aether"; mkdir -p "$d" && cat >"$d/$n.$$" && mv "$d/$n.$$" "$d/$n"'


_LIST = Draft202012Validator(HOST_SESSIONS_SCHEMA)


class CannotKeep(Exception):
    """The machine cannot keep sessions; the text says why."""


class PtyHost:
    """The way to the host of one machine.

    Args:
        pool: the machine's SSH connections.
        file: the host's program.
    """

    def __init__(self, pool: ConnectionPool, file: PtyHostFile) -> None:
        self._pool = pool
        self._file = file
        self._launching = asyncio.Lock()
        self._starts = 0
        self._found_none_at = -LOOK_S
        self._sockets: dict[str, str] = {}
        self._own = ""
        self._is_relayed = False

    def forget(self) -> None:
        """Look for the host anew, because the machine has started."""
        self._sockets, self._own, self._is_relayed = {}, "", False

    async def prepare(self) -> None:
        """See that the newest host runs, unless it is known to; raises as `open` does."""
        if not self._own:
            await self._launch()

    async def open(self, factory: Callable[[], HostChannel], window: int, socket: str | None = None) -> None:
        """Open a channel to the newest host, which is started if it does not run, or to the one at `socket`.

        Raises:
            CannotKeep: the machine cannot run it.
            SocketRefused: nothing listens at `socket`.
            SshError, ProviderTimeout: the machine's SSH server refused, or did not answer.
        """
        if socket is None:
            await self.prepare()
        if self._is_relayed:
            return await self._open_relay(factory, window, socket or self._own)
        try:
            await self._pool.open_socket(factory, socket or self._own, window)
        except SocketRefused as refusal:
            if socket is not None:
                raise
            await self._open_again(factory, window, refusal)

    async def _open_again(self, factory: Callable[[], HostChannel], window: int, refusal: SocketRefused) -> None:
        """Open a channel after a refusal: the host is gone, or the SSH server forbids this to all."""
        await self._launch()
        if not refusal.is_certain:
            with contextlib.suppress(SocketRefused):
                await self._pool.open_socket(factory, self._own, window)
                return
        log.info("a machine's SSH server forwards no Unix sockets: its sessions go through a relay")
        self._is_relayed = True
        await self._open_relay(factory, window, self._own)

    async def _open_relay(self, factory: Callable[[], HostChannel], window: int, socket: str) -> None:
        command = _shell(_FIND + _RUN + f"relay {shlex.quote(socket)}", self._file.name)
        await self._pool.open_command(factory, command, window)

    def earlier(self) -> list[str]:
        """Return the sockets of hosts that earlier servers have started and whose protocol this one speaks."""
        spoken = tuple(f"{protocol}-" for protocol in SPOKEN)
        return [path for name, path in self._sockets.items() if path != self._own and name.startswith(spoken)]

    async def sessions(self) -> list[SessionInfo]:
        """Return the sessions of all hosts, oldest first; raise SshError, ProviderTimeout."""
        found = []
        for socket in await self._known():
            if (answer := await self._ask(socket, frame("L"))) is not None:
                found += _sessions(answer)
        return sorted(found, key=lambda session: session.created_at)

    async def hang_up(self, session: str) -> None:
        """Hang up a session; raise SessionNotFound, SshError, ProviderTimeout."""
        for socket in await self._known():
            answer = await self._ask(socket, json_frame("H", {"id": session}))
            if answer is not None and "code" not in answer:
                return
        raise SessionNotFound(f"there is no session {session}; GET /machines/:id/sessions lists them")

    async def _known(self) -> list[str]:
        """Return the sockets of all hosts that run; none is started for this."""
        now = asyncio.get_running_loop().time()
        if not self._own and now >= self._found_none_at + LOOK_S:
            with contextlib.suppress(CannotKeep):
                await self._launch("find")
            self._found_none_at = now
        return [*self.earlier(), *([self._own] if self._own else [])]

    async def _launch(self, verb: str = "start") -> None:
        """Run the launcher, after installing the host if the machine was made without it.

        Who has waited for another terminal to do so takes its answer: hundreds may come back at once.
        """
        starts = self._starts
        async with self._launching:
            if self._starts != starts and self._own:
                return
            command = _shell(_FIND + _RUN + verb, self._file.name)
            done = await self._pool.run(command)
            if done.status == NOT_INSTALLED:
                installed = await self._pool.run(_shell(_FIND + _INSTALL, self._file.name), self._file.source)
                if installed.status != 0:
                    raise CannotKeep(f"the PTY host could not be installed: {_last_line(installed.stderr)}")
                done = await self._pool.run(command)
            if done.status == NO_PYTHON:
                raise CannotKeep("there is no python3 on the machine, which keeps sessions")
            if done.status != 0:
                raise CannotKeep(f"the PTY host could not be started: {_last_line(done.stderr)}")
            self._take(done.stdout)
            if verb == "start" and not self._own:
                raise CannotKeep("the PTY host ended as soon as it was started")
            self._starts += verb == "start"

    def _take(self, answer: bytes) -> None:
        try:
            found = json.loads(answer)
            self._sockets = {str(name): str(path) for name, path in found["sockets"].items()}
            self._own = self._sockets.get(found["own"], "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CannotKeep(f"the PTY host gave no answer that makes sense: {error}") from error

    async def _ask(self, socket: str, question: bytes) -> dict[str, Any] | None:
        """Ask the host at a socket; None if it is gone."""
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def take(kind: int | None, payload: bytes) -> None:
            if not answer.done():
                answer.set_result(None if kind is None else payload)

        channel = HostChannel(Question(question, take))
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await self.open(lambda: channel, ANSWER_BYTES, socket)
                payload = await answer
            return None if payload is None else decode(payload)
        except (SocketRefused, CannotKeep):
            self.forget()
            return None
        except FrameError as error:
            raise SshError(f"the machine's PTY host gave no answer that makes sense: {error}; try again") from error
        except TimeoutError as error:
            raise ProviderTimeout("the machine's PTY host did not answer in time; try again") from error
        finally:
            channel.close()


def _sessions(answer: dict[str, Any]) -> list[SessionInfo]:
    """Decode a host's list; the machine is its user's, and so is what it says. Raises SshError."""
    try:
        _LIST.validate(answer)
    except ValidationError as error:
        raise SshError(f"the machine's PTY host gave no list that makes sense: {error.message[:200]}") from error
    return [
        SessionInfo(**{field.name: session[field.name] for field in fields(SessionInfo)})
        for session in answer["sessions"]
    ]


def _shell(script: str, name: str) -> str:
    """Return a command line that runs a script in sh, whatever the user's shell is."""
    return f"exec /bin/sh -c {shlex.quote(script.replace('{name}', name))}"


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1][:200]
