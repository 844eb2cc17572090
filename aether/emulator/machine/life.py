"""What happens to a machine after a request: pull, boot, run, end, update, destruction.

One task at a time runs this. The root filesystem is wiped between a stop and the next start unless
`config.rootfs.persist` is "always" (an option adds "restart"), and so it is by an update.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aether.emulator.config import is_autostarted, ssh_port
from aether.emulator.errors import ApiError, BootError
from aether.emulator.faults import Faults
from aether.emulator.machine.edge import AutostartListener, Edge
from aether.emulator.machine.record import environment, exit_request
from aether.emulator.machine.store import MachineStore
from aether.emulator.options import Options
from aether.emulator.runtimes.base import Isolation, MachineProcess, Runtime
from aether.emulator.runtimes.rootfs import Rootfs, Trash


@dataclass(frozen=True)
class Host:
    """What the machines of one emulator share."""

    runtime: Runtime
    trash: Trash
    options: Options
    faults: Faults
    sleep: Callable[[float], Awaitable[None]]
    edge: Edge


class Life:
    """The life of one machine, from its launch to its destruction."""

    def __init__(self, store: MachineStore, host: Host) -> None:
        self._store = store
        self._host = host
        self._rootfs = Rootfs(store.directory / "rootfs")
        self._task: asyncio.Task[None] | None = None
        self._delay: asyncio.Future[None] | None = None
        self._grace_s: float | None = None  # set once a stop was requested
        self._crash: tuple[int, bool] | None = None  # the exit code of a crash, and whether memory ran out
        self._is_replacing = self._is_closing = False
        self.is_destroying = store.state == "destroying"
        self.process: MachineProcess | None = None
        self._autostart = AutostartListener()

    def launch(self, listener: socket.socket | None, is_skipped: bool) -> None:
        """Boot for the first time, or become `stopped` if the launch is skipped."""
        if is_skipped and listener is not None:
            listener.close()
        self._run_task(self._prepare() if is_skipped else self._boot_and_run(listener, "create"), "launch")

    def start(self) -> None:
        """Boot again."""
        self._autostart.close()
        self._run_task(self._start_again("start"), "start")

    def stop(self, grace_s: float) -> None:
        """End the process; during a boot, as soon as there is one."""
        self._grace_s = grace_s
        self._end_delay()
        self._stop_process()

    def replace(self, is_launched: bool) -> None:
        """End the process of the old version, then boot the new one if `is_launched`."""
        self._autostart.close()
        self._is_replacing, self._grace_s = True, 0.0
        self._stop_process()
        self._run_task(self._replace(self._task, is_launched), "update")

    def destroy(self) -> None:
        """End everything and destroy the machine."""
        self._autostart.close()
        self.is_destroying, self._grace_s = True, 0.0
        self._end_delay()
        if self._task is None:
            self._run_task(self._settle(), "destroy")
        else:
            self._stop_process()

    async def crash(self, code: int, is_oom: bool) -> None:
        """Let the process end as if by itself, and wait until the machine is `stopped`."""
        assert self.process is not None
        self._crash = (code, is_oom)
        self.process.signal(9)
        await self.ended()

    async def close(self) -> None:
        """Wait until everything it started has ended, without further delays."""
        self._is_closing = True
        self._end_delay()
        await self.ended()
        self._autostart.close()

    async def ended(self) -> None:
        """Wait until the present task has ended."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def recover(self) -> None:
        """Complete what an earlier process of the emulator left unfinished."""
        if self._store.state != "stopped":
            await self._host.runtime.kill_leftovers(self._store.id)
            await self._settle(0 if self._store.state == "created" else -9, "the emulator ended")
        elif not self.is_destroying:
            self._listen_for_autostart()

    def _run_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(work, name=f"machine {self._store.id} {name}")

    async def _wait(self, seconds: float) -> None:
        """Let time pass, or less if a request ends the delay."""
        if seconds > 0 and not self._is_closing:
            self._delay = asyncio.ensure_future(self._host.sleep(seconds))
            await asyncio.wait({self._delay})

    def _end_delay(self) -> None:
        if self._delay is not None:
            self._delay.cancel()

    async def _prepare(self) -> None:
        await self._wait(self._host.options.pull_delay_s)
        await self._settle()

    async def _boot_and_run(self, listener: socket.socket | None, action: str) -> None:
        """Boot, run until the process ends, then become `stopped` or `destroyed`."""
        code, error = 0, ""
        try:
            await self._wait_for_boot(action)
            if self._grace_s is None:
                variables = environment(self._store.app, self._store.record)
                config = self._store.config
                self.process = await self._host.runtime.boot(self._rootfs, listener, variables, config)
        except (OSError, BootError) as failure:
            code, error = 1, str(failure)
        finally:
            if listener is not None:
                listener.close()
        if self.process is not None:
            code = await self._run(self.process)
        if not self._is_replacing:
            await self._settle(code, error)

    async def _wait_for_boot(self, action: str) -> None:
        options = self._host.options
        if self._store.state == "created" and self._grace_s is None:
            await self._wait(options.pull_delay_s)
        if self._store.state == "created" and self._grace_s is None:
            self._store.change_state("starting", "start", "flyd")
        if self._grace_s is None:
            slow_s = self._host.faults.slow_boot_s(action, self._store.id)
            await self._wait(options.boot_delay_s + slow_s)

    async def _run(self, process: MachineProcess) -> int:
        """Be `started` until the process ends, by itself or by a request, which may have come during the boot."""
        if not self.is_destroying:
            self._store.change_state("started", "start", "flyd")
        if self._grace_s is not None:
            self._stop_process()
        ending = asyncio.ensure_future(process.wait())
        ending.add_done_callback(lambda _: self._end_delay())
        if self._grace_s is None:
            await self._wait(self._host.options.sshd_delay_s)
        process.listen()
        code = await ending
        if process.is_oom_killed and self._grace_s is None:
            self._crash = self._crash or (code, True)
        self.process = None
        if self._host.runtime.isolation is Isolation.NONE:
            await self._host.runtime.kill_leftovers(self._store.id)
        if self._grace_s is not None and not self.is_destroying:
            await self._wait(self._host.options.stop_delay_s)
        return code

    def _stop_process(self) -> None:
        if self.process is not None and self._grace_s is not None:
            if self._store.state == "started":
                self._store.change_state("stopping", "stop", "user")
            self.process.stop(self._grace_s)

    async def _settle(self, code: int = 0, error: str = "") -> None:
        """Become `stopped`, or `destroyed` if that was requested meanwhile."""
        if self.is_destroying:
            await self._wait(self._host.options.destroy_delay_s)
            await self._host.runtime.remove(self._store.id)
            await self._host.trash.delete(self._store.directory)
            self._store.change_state("destroyed", "destroy", "flyd")
            return
        code, is_oom = self._crash or (code, False)
        request = exit_request(code, self._grace_s is not None, error, self._store.now(), is_oom)
        self._task = self._grace_s = self._crash = None
        self._store.change_state("stopped", "exit", "flyd", request)
        self._listen_for_autostart()

    def _listen_for_autostart(self) -> None:
        """Let a connection start the stopped machine if its service says so (Fly docs, "autostart")."""
        if is_autostarted(self._store.config) and not self._is_closing:
            with contextlib.suppress(ApiError):  # another machine or program has the port
                listener = self._host.edge.bind(ssh_port(self._store.config))
                self._autostart.listen(listener, self._start_by_connection)

    def _start_by_connection(self, listener: socket.socket) -> None:
        self._store.change_state("starting", "start", "flyd")
        self._run_task(self._start_again("start", listener), "start")

    async def _start_again(self, action: str, listener: socket.socket | None = None) -> None:
        """Wipe what does not persist, bind the SSH port if that is still free, and boot."""
        try:
            await self._wipe({"always", "restart"} if self._host.options.persist_restart else {"always"})
            listener = listener or self._host.edge.bind(ssh_port(self._store.config))
        except (ApiError, OSError) as error:
            if listener is not None:
                listener.close()
            await self._settle(1, str(error))
        else:
            await self._boot_and_run(listener, action)

    async def _wipe(self, persisting: set[str]) -> None:
        if self._store.config.get("rootfs", {}).get("persist") not in persisting:
            await self._host.trash.delete(self._rootfs.path)

    async def _replace(self, old: "asyncio.Task[None] | None", is_launched: bool) -> None:
        if old is not None:
            await asyncio.wait({old})
        await self._wait(self._host.options.replace_delay_s)
        self._is_replacing = False
        await self._wipe({"always"})
        if is_launched and not self.is_destroying and not self._is_closing:
            self._grace_s = None
            self._store.change_state("starting", "start", "flyd")
            await self._start_again("update")
        else:
            await self._settle()
