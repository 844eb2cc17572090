"""The processes of a machine, from inside it: started, reaped, and killed at the end."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

WAKE_AFTER_S = 0.1  # bash misses a SIGHUP between its prompt and its wait for a key, until SIGWINCH interrupts that
DRAIN_S = 1.5  # for clients to receive what is left in the terminals of processes that have ended
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_DESCRIPTORS = 1024  # as in an ordinary log-in, whatever the server's own limit: select(2) supports no more
_LEAVE_S = 0.2
_KILL_ROUNDS = 10  # a few are enough, even against a process that keeps forking
_DEFAULT_AGAIN = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Children:
    """Start processes and call back when each ends; reap the orphans that this process inherits.

    The supervisor has one thread, so a plain fork is safe; asyncio's own subprocesses could not give a child a
    controlling terminal.
    """

    def __init__(self) -> None:
        self._on_exit: dict[int, Callable[[int], None]] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        program: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        fds: tuple[int, int, int],
        is_tty: bool,
        on_exit: Callable[[int], None],
    ) -> int:
        """Run a program as the leader of its own session; return its process id."""
        pid = os.fork()
        if pid == 0:
            _execute(program, argv, environment, fds, is_tty)
        self._on_exit[pid] = on_exit
        self._none_left.clear()
        return pid

    async def wait(self, timeout_s: float) -> None:
        """Wait until every process we started has ended, for at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._none_left.wait()

    def kill_descendants(self) -> None:
        """Kill all descendants: as a subreaper this process is the parent of every orphan (Linux).

        First they are asked to end, as a computer that shuts down does: a daemon may have something to remove.
        """
        import psutil  # noqa: PLC0415  (takes 30 ms, which no boot needs)

        me = psutil.Process()
        descendants = me.children(recursive=True)
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(descendants, timeout=_LEAVE_S)
        for _ in range(_KILL_ROUNDS):
            descendants = me.children(recursive=True)
            if not descendants:
                break
            for process in descendants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(descendants, timeout=0.2)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == 0:
                break
            on_exit = self._on_exit.pop(pid, None)
            if on_exit is not None:
                on_exit(os.waitstatus_to_exitcode(status))
        if not self._on_exit:
            self._none_left.set()


def _execute(
    program: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    fds: tuple[int, int, int],
    is_tty: bool,
) -> NoReturn:
    """Become the program: only system calls from here on."""
    try:
        signal.set_wakeup_fd(-1)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS if hard < 0 else min(_DESCRIPTORS, hard), hard))
        for number in _DEFAULT_AGAIN:
            signal.signal(number, signal.SIG_DFL)
        if is_tty:
            os.login_tty(fds[0])
        else:
            os.setsid()
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
        os.execve(program, list(argv), environment)  # noqa: S606
    finally:
        os._exit(127)
