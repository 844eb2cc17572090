"""What happens to a machine once it was asked for: pull, boot, run, end, update, destruction.

One task at a time lives a machine's life. The root filesystem is wiped between a stop and the next start unless
`config.rootfs.persist` is "always" (an option adds "restart"), and by an update likewise.
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any

from aether.emulator.edge import Doorbell
from aether.emulator.ledger import Ledger
from aether.emulator.record import environment, exit_request
from aether.emulator.requests import ApiError, is_autostarted, ssh_port
from aether.emulator.rootfs import Rootfs
from aether.emulator.runtime import Guest, Host
from aether.emulator.sandbox import SandboxError


class Life:
    """The life of one machine, from its launch to its destruction."""

    def __init__(self, ledger: Ledger, host: Host) -> None:
        self._ledger = ledger
        self._host = host
        self._rootfs = Rootfs(ledger.directory / "rootfs")
        self._task: asyncio.Task[None] | None = None
        self._pausing: asyncio.Future[None] | None = None
        self._grace_s: float | None = None  # set once somebody asked for a stop
        self._fate: tuple[int, bool] | None = None  # the exit code of a crash, and whether it was for memory
        self._is_replacing = self._is_hurried = False
        self.is_doomed = ledger.state == "destroying"
        self.guest: Guest | None = None
        self._doorbell = Doorbell()

    def launch(self, listener: socket.socket | None, is_skipped: bool) -> None:
        """Boot for the first time, or settle to `stopped` if the launch is skipped."""
        if is_skipped and listener is not None:
            listener.close()
        self._own(self._prepare() if is_skipped else self._live(listener, "create"), "launch")

    def start(self) -> None:
        """Boot again."""
        self._doorbell.silence()
        self._own(self._start_again("start"), "start")

    def stop(self, grace_s: float) -> None:
        """End the process; one that is not there yet is stopped when it is."""
        self._grace_s = grace_s
        self._end_pause()
        self._stop_guest()

    def replace(self, is_launched: bool) -> None:
        """End the process of the old version, then boot the new one if that is wanted."""
        self._doorbell.silence()
        self._is_replacing, self._grace_s = True, 0.0
        self._stop_guest()
        self._own(self._renew(self._task, is_launched), "update")

    def doom(self) -> None:
        """End everything and destroy."""
        self._doorbell.silence()
        self.is_doomed, self._grace_s = True, 0.0
        self._end_pause()
        if self._task is None:
            self._own(self._settle(), "destroy")
        else:
            self._stop_guest()

    async def crash(self, code: int, is_oom: bool) -> None:
        """Let the process end as if by itself, and see the machine settled."""
        assert self.guest is not None
        self._fate = (code, is_oom)
        self.guest.signal(9)
        await self.ended()

    async def close(self) -> None:
        """Wait until everything it started has ended, without any more delays."""
        self._is_hurried = True
        self._end_pause()
        await self.ended()
        self._doorbell.silence()

    async def ended(self) -> None:
        """Wait until nothing happens to the machine any more."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def recover(self) -> None:
        """Settle what an earlier process of the emulator left in the middle."""
        if self._ledger.state != "stopped":
            await self._host.runtime.sweep(str(self._ledger.record["id"]))
            await self._settle(0 if self._ledger.state == "created" else -9, "the emulator ended")
        elif not self.is_doomed:
            self._await_connection()

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(work, name=f"machine {self._ledger.record['id']} {name}")

    async def _pause(self, seconds: float) -> None:
        """Let time pass unless the machine is asked to end."""
        if seconds > 0 and not self._is_hurried:
            self._pausing = asyncio.ensure_future(self._host.sleep(seconds))
            await asyncio.wait({self._pausing})

    def _end_pause(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()

    async def _prepare(self) -> None:
        await self._pause(self._host.options.pull_delay_s)
        await self._settle()

    async def _live(self, listener: socket.socket | None, action: str) -> None:
        """Boot, run until the process ends, settle."""
        code, error = 0, ""
        try:
            await self._wait_for_boot(action)
            if self._grace_s is None:
                variables = environment(self._ledger.app, self._ledger.record)
                config = self._ledger.config
                self.guest = await self._host.runtime.boot(self._rootfs, listener, variables, config)
        except (OSError, SandboxError) as failure:
            code, error = 1, str(failure)
        finally:
            if listener is not None:
                listener.close()
        if self.guest is not None:
            code = await self._run(self.guest)
        if not self._is_replacing:
            await self._settle(code, error)

    async def _wait_for_boot(self, action: str) -> None:
        options = self._host.options
        if self._ledger.state == "created" and self._grace_s is None:
            await self._pause(options.pull_delay_s)
        if self._ledger.state == "created" and self._grace_s is None:
            self._ledger.enter("starting", "start", "flyd")
        if self._grace_s is None:
            slow_s = self._host.faults.slow_boot_s(action, str(self._ledger.record["id"]))
            await self._pause(options.boot_delay_s + slow_s)

    async def _run(self, guest: Guest) -> int:
        """Be `started` until the process ends, by itself or because somebody asked, perhaps during the boot."""
        if not self.is_doomed:
            self._ledger.enter("started", "start", "flyd")
        if self._grace_s is not None:
            self._stop_guest()
        ending = asyncio.ensure_future(guest.wait())
        ending.add_done_callback(lambda _: self._end_pause())
        if self._grace_s is None:
            await self._pause(self._host.options.sshd_delay_s)
        guest.listen()
        code = await ending
        if guest.is_oom_killed and self._grace_s is None:
            self._fate = self._fate or (code, True)
        self.guest = None
        if not self._host.runtime.is_contained:
            await self._host.runtime.sweep(str(self._ledger.record["id"]))
        if self._grace_s is not None and not self.is_doomed:
            await self._pause(self._host.options.stop_delay_s)
        return code

    def _stop_guest(self) -> None:
        if self.guest is not None and self._grace_s is not None:
            if self._ledger.state == "started":
                self._ledger.enter("stopping", "stop", "user")
            self.guest.stop(self._grace_s)

    async def _settle(self, code: int = 0, error: str = "") -> None:
        """Become `stopped`, or `destroyed` if that was asked for meanwhile."""
        if self.is_doomed:
            await self._pause(self._host.options.destroy_delay_s)
            await self._host.runtime.remove(str(self._ledger.record["id"]))
            await self._host.trash.throw(self._ledger.directory)
            self._ledger.enter("destroyed", "destroy", "flyd")
            return
        code, is_oom = self._fate or (code, False)
        request = exit_request(code, self._grace_s is not None, error, self._ledger.now(), is_oom)
        self._task = self._grace_s = self._fate = None
        self._ledger.enter("stopped", "exit", "flyd", request)
        self._await_connection()

    def _await_connection(self) -> None:
        """Let a connection to a stopped machine start it, if its service says so (Fly docs, "autostart")."""
        if is_autostarted(self._ledger.config) and not self._is_hurried:
            with contextlib.suppress(ApiError):  # somebody else has the port: nobody will ring
                self._doorbell.hang_up(self._host.edge.reserve(ssh_port(self._ledger.config)), self._wake)

    def _wake(self, listener: socket.socket) -> None:
        self._ledger.enter("starting", "start", "flyd")
        self._own(self._start_again("start", listener), "start")

    async def _start_again(self, action: str, listener: socket.socket | None = None) -> None:
        """Wipe what does not persist, and live with the SSH port if that is still free."""
        try:
            await self._wipe({"always", "restart"} if self._host.options.persist_restart else {"always"})
            listener = listener or self._host.edge.reserve(ssh_port(self._ledger.config))
        except (ApiError, OSError) as error:
            if listener is not None:
                listener.close()
            await self._settle(1, str(error))
        else:
            await self._live(listener, action)

    async def _wipe(self, surviving: set[str]) -> None:
        if self._ledger.config.get("rootfs", {}).get("persist") not in surviving:
            await self._host.trash.throw(self._rootfs.path)

    async def _renew(self, old: "asyncio.Task[None] | None", is_launched: bool) -> None:
        if old is not None:
            await asyncio.wait({old})
        await self._pause(self._host.options.replace_delay_s)
        self._is_replacing = False
        await self._wipe({"always"})
        if is_launched and not self.is_doomed and not self._is_hurried:
            self._grace_s = None
            self._ledger.enter("starting", "start", "flyd")
            await self._start_again("update")
        else:
            await self._settle()
