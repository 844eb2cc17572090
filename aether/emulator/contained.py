"""The container of a running machine: a client of the engine is attached to it, and ends when it does.

Should the emulator be killed, that client's shell sees its standard input end, and kills the container.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from signal import SIGKILL, Signals
from typing import BinaryIO

from aether.emulator.engine import Engine, EngineError, client_environment
from aether.emulator.record import Json
from aether.emulator.requests import ApiError

# $0 is the engine, $1 the container. `attach` hears of the end at once, but may lose its engine; then `wait` knows.
_KEEP = """\
exec 3<&0 </dev/null
{ read -r _ <&3; exec "$0" kill "$1"; } >/dev/null 2>&1 &
watcher=$!
"$0" attach --no-stdin --sig-proxy=false "$1"
"$0" wait "$1" >/dev/null 2>&1
kill "$watcher" 2>/dev/null
exit 0
"""
_EXEC_LIMIT_S = 30  # as the API's; the engine's client can be killed, but not through it what runs inside


class ContainerGuest:
    """The container of a running machine."""

    def __init__(self, engine: Engine, name: str, stop_signal: str, process: asyncio.subprocess.Process) -> None:
        self._engine = engine
        self._name = name
        self._stop_signal = stop_signal
        self._process = process
        self._deadline: asyncio.TimerHandle | None = None
        self._kills: set[asyncio.Task[None]] = set()
        self.is_oom_killed = False

    @classmethod
    async def attach(cls, engine: Engine, name: str, stop_signal: str, console: Path) -> "ContainerGuest":
        """Attach to a started container; what it prints goes to a file that only we can read."""
        with _open_anew(console) as output:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _KEEP, engine.program, name),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=client_environment(os.environ),
                start_new_session=True,
            )
        return cls(engine, name, stop_signal, process)

    def listen(self) -> None:
        """Nothing is to do: its port answers as soon as its SSH server does."""

    def stop(self, grace_s: float) -> None:
        """Send the stop signal, and SIGKILL after the grace; told again, it has until then at most."""
        if self._deadline is None:
            self._kill(self._stop_signal)
        else:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(grace_s, self.signal, SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to its first process; the end of that is the end of all."""
        self._kill(Signals(number).name)

    def _kill(self, signal_name: str) -> None:
        async def kill() -> None:
            with contextlib.suppress(EngineError):  # it has ended meanwhile
                await self._engine.call("kill", f"--signal={signal_name}", self._name)

        task = asyncio.create_task(kill(), name=f"{self._name} {signal_name}")
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def wait(self) -> int:
        """Wait until the container has ended and answer the exit code, a signal's number negative."""
        await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            is_running, code, is_oom_killed = await self._state()
            # what was attached was killed, as by whoever stops a service with all its processes
            if is_running == "true":
                await self._engine.call("wait", self._name)
                _, code, is_oom_killed = await self._state()
        except EngineError:  # somebody removed it
            code, is_oom_killed = str(128 + SIGKILL), "false"
        if self._deadline is not None:
            self._deadline.cancel()
        await asyncio.gather(*self._kills)
        self.is_oom_killed = is_oom_killed == "true"
        return 128 - int(code) if int(code) > 128 else int(code)

    async def _state(self) -> list[str]:
        wanted = "--format={{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        return (await self._engine.call("inspect", wanted, self._name)).split()

    async def run(self, command: list[str], stdin: str) -> Json:
        """Run a command inside as the user, and answer its outcome."""
        who = ("--user=coder", "--workdir=/home/coder", "--env=HOME=/home/coder", "--env=USER=coder")
        limit = ("timeout", "-s", "KILL", str(_EXEC_LIMIT_S))
        arguments = ("exec", "--interactive", *who, self._name, *limit, *command)
        code, out, err = await self._engine.run(*arguments, stdin=stdin.encode())
        if self._deadline is not None or self._process.returncode is not None:
            raise ApiError(412, "failed_precondition: machine stopped while the command ran")
        texts = [text.decode(errors="replace") for text in (out, err)]
        return {"exit_code": code, "exit_signal": 0, "stdout": texts[0], "stderr": texts[1]}


def _open_anew(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")
