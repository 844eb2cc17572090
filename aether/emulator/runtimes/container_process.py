"""The process of a machine in a container: a client of the engine, attached to the container, which ends with it.

If the emulator is killed, the standard input of the shell around that client is closed, and it kills the container.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from signal import SIGKILL, Signals
from typing import BinaryIO

from aether.emulator.errors import ApiError, EngineError, Json
from aether.emulator.runtimes.engine import Engine, client_environment

# $0 is the engine, $1 the container. `attach` ends with it at once, but may lose the engine before; `wait` does not.
_ATTACH = """\
exec 3<&0 </dev/null
{ read -r _ <&3; exec "$0" kill "$1"; } >/dev/null 2>&1 &
watcher=$!
"$0" attach --no-stdin --sig-proxy=false "$1"
"$0" wait "$1" >/dev/null 2>&1
kill "$watcher" 2>/dev/null
exit 0
"""
_EXEC_LIMIT_S = 30  # as the API's: to kill the engine's client would not end the command inside


class ContainerProcess:
    """The container of a running machine, to which `client` is attached."""

    def __init__(self, engine: Engine, name: str, stop_signal: str, client: asyncio.subprocess.Process) -> None:
        self._engine = engine
        self._name = name
        self._stop_signal = stop_signal
        self._client = client
        self._deadline: asyncio.TimerHandle | None = None
        self._kills: set[asyncio.Task[None]] = set()
        self.is_oom_killed = False

    def listen(self) -> None:
        """Do nothing: the engine forwards the port as soon as the container runs."""

    def stop(self, grace_s: float) -> None:
        """Send the stop signal, and SIGKILL after the grace period; a second call replaces that period."""
        if self._deadline is None:
            self._kill(self._stop_signal)
        else:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(grace_s, self.signal, SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to its first process, with which the container ends."""
        self._kill(Signals(number).name)

    def _kill(self, signal_name: str) -> None:
        async def kill() -> None:
            with contextlib.suppress(EngineError):  # it has already ended
                await self._engine.call("kill", f"--signal={signal_name}", self._name)

        task = asyncio.create_task(kill(), name=f"{self._name} {signal_name}")
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def wait(self) -> int:
        """Wait until the container has ended; return the exit code, or a signal's number, negative."""
        await self._client.wait()
        assert self._client.stdin is not None
        self._client.stdin.close()
        try:
            is_running, code, is_oom_killed = await self._state()
            if is_running == "true":  # the client was killed, as when a service is stopped with all its processes
                await self._engine.call("wait", self._name)
                _, code, is_oom_killed = await self._state()
        except EngineError:  # it has been removed
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
        """Run a command inside as the user; return its outcome."""
        who = ("--user=coder", "--workdir=/home/coder", "--env=HOME=/home/coder", "--env=USER=coder")
        limit = ("timeout", "-s", "KILL", str(_EXEC_LIMIT_S))
        arguments = ("exec", "--interactive", *who, self._name, *limit, *command)
        code, out, err = await self._engine.run(*arguments, stdin=stdin.encode())
        if self._deadline is not None or self._client.returncode is not None:
            raise ApiError(412, "failed_precondition: machine stopped while the command ran")
        texts = [text.decode(errors="replace") for text in (out, err)]
        return {"exit_code": code, "exit_signal": 0, "stdout": texts[0], "stderr": texts[1]}


async def attach(engine: Engine, name: str, console: Path) -> asyncio.subprocess.Process:
    """Attach to a started container; its output goes to a file that only the emulator's user can read."""
    with _open_empty(console) as output:
        return await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _ATTACH, engine.program, name),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=client_environment(os.environ),
            start_new_session=True,
        )


def _open_empty(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")
