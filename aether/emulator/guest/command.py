"""One command of the API's `exec`, inside the machine: no terminal, no shell, its output collected until it ends."""

import os
import shutil
from asyncio import get_running_loop
from collections.abc import Callable, Mapping
from signal import SIGKILL
from typing import Any

from aether.emulator.guest.children import Children

LINE_LIMIT = 1 << 24  # bytes of an outcome as JSON, every byte of the output escaped
_CHUNK = 65536
_OUTPUT_LIMIT = 1 << 20  # of each stream; the rest is dropped
_NOT_FOUND = 127


class Command:
    """A command from its start to its outcome."""

    def __init__(self, children: Children, on_done: Callable[[dict[str, Any]], None]) -> None:
        self._children = children
        self._on_done = on_done
        self._loop = get_running_loop()
        self._outputs: dict[int, bytearray] = {}
        self._input: int | None = None
        self._pid: int | None = None

    def start(self, argv: list[str], stdin: str, environment: Mapping[str, str]) -> None:
        """Run a program found on the machine's PATH."""
        program = shutil.which(argv[0], path=environment["PATH"])
        if program is None:
            text = f'exec: "{argv[0]}": executable file not found in $PATH'
            self._on_done({"exit_code": _NOT_FOUND, "exit_signal": 0, "stdout": "", "stderr": text})
            return
        (stdin_fd, self._input), (out, out_fd), (err, err_fd) = os.pipe(), os.pipe(), os.pipe()
        self._outputs = {out: bytearray(), err: bytearray()}
        fds = (stdin_fd, out_fd, err_fd)
        self._pid = self._children.start(program, argv, environment, fds, False, self._exited)
        for fd in fds:
            os.close(fd)
        for fd in (self._input, out, err):
            os.set_blocking(fd, False)
        for fd in self._outputs:
            self._loop.add_reader(fd, self._read, fd)
        self._pending = stdin.encode()
        self._loop.add_writer(self._input, self._write)

    def kill(self) -> None:
        """Kill it and what is in its process group."""
        if self._pid is not None:
            try:
                os.killpg(self._pid, SIGKILL)
            except ProcessLookupError:  # it has not made its group yet
                os.kill(self._pid, SIGKILL)

    def _write(self) -> None:
        try:
            while self._pending and self._input is not None:
                self._pending = self._pending[os.write(self._input, self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # the other end is closed
            self._pending = b""
        self._close_input()

    def _close_input(self) -> None:
        if self._input is not None:
            self._loop.remove_writer(self._input)
            os.close(self._input)
            self._input = None

    def _read(self, fd: int) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        kept = self._outputs[fd]
        kept += data[: _OUTPUT_LIMIT - len(kept)]
        if not data:
            self._loop.remove_reader(fd)
        return bool(data)

    def _exited(self, code: int) -> None:
        """Read what is left of the output, without waiting for other processes that still have it open."""
        self._pid = None
        self._close_input()
        texts = []
        for fd, kept in self._outputs.items():
            while self._read(fd):
                pass
            self._loop.remove_reader(fd)
            os.close(fd)
            texts.append(kept.decode(errors="replace"))
        exit_code, exit_signal = (code, 0) if code >= 0 else (128 - code, -code)
        self._on_done({"exit_code": exit_code, "exit_signal": exit_signal, "stdout": texts[0], "stderr": texts[1]})
