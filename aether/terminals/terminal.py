"""Terminal: what a user opens: a shell in a machine, and the client attached to it.

Why its path is as it is, by `scripts/bench.py` (each kept because it paid there):
- One SSH connection a machine, a channel a terminal: the key exchange and the fork, some 200 ms, are paid once.
- aes-gcm before chacha20, one packet a key, reads that asyncssh need not copy again and again: `ssh`.
- Frames read and written by `handlers.websocket`, keys checked by a compiled validator: `messages`.
- What leads to the next write comes first, what is only noted comes after it.
- The SSH window follows the client's screen, and the kernel keeps little: Ctrl-C in a flood is answered at once, where
  OpenSSH's own client at 200 KB/s first shows seconds of old output: `attachment`, `flow`, `handlers.terminal`.
- A flood is slowed while a user types in another terminal of the machine: the SSH server that both share answers the
  key first: `flow.TypingPriority`.
- Collections of garbage are rare and spare what was there at the start: `server.py`.
uvloop takes nothing off an echo any more: half of what is left is Python, a quarter the waking of processes.
JSON text frames add 8 % to the bytes of text, and little to the time: the protocol stays as it is.
"""

import asyncio
import logging
from collections.abc import Callable

from aether.errors import AetherError, LimitExceeded, MachineNotRunning, SshError
from aether.messages import Ack, Input, Resize, TerminalQuery
from aether.ssh.connection import Pty
from aether.ssh.pool import ConnectionPool
from aether.terminals.attachment import Attachment, Client
from aether.terminals.diagnosis import Diagnosis, TerminalMachine
from aether.terminals.flow import START_WINDOW_BYTES, TypingPriority
from aether.terminals.keeping import Keeping
from aether.terminals.pty_host import CannotKeep
from aether.terminals.session import SessionShell
from aether.terminals.shell import ShellSession

log = logging.getLogger(__name__)

MAX_PENDING_INPUT_BYTES = 8 << 20
LOST = "the connection to the machine was lost; reconnect"
ATTEMPTS = 20  # to attach to a session again,
FAILURE = 4  # as many as this where it fails, which may take half a minute,
STABLE_S = 10.0  # and as many again where it has been attached for so long


class Terminal:
    """One terminal, from the WebSocket's opening to whichever end closes first.

    Its shell lives in a session of the machine if the client has named one and the machine can keep it, else it is the
    channel's own and ends with it.

    Args:
        client: gets the messages.
        query: the first size, and whether the client has lost an earlier shell.
        machine: where the shell runs.
        pool: the machine's SSH connections.
        keeping: how the machine keeps sessions; None: not at all.
        priority: who types on the machine, for all its terminals.
        diagnosis: finds out why the shell is gone.
        on_end: called once, when the terminal is over.
    """

    def __init__(
        self,
        client: Client,
        query: TerminalQuery,
        machine: TerminalMachine,
        pool: ConnectionPool,
        keeping: Keeping | None,
        priority: TypingPriority,
        diagnosis: Diagnosis,
        on_end: Callable[["Terminal"], None],
    ) -> None:
        self._machine = machine
        self._pool = pool
        self._query = query
        self._on_end = on_end
        self._diagnosis = diagnosis
        self.attachment = Attachment(client, priority)
        self.shell: ShellSession | SessionShell
        if keeping is not None and query.session is not None:
            self.shell = SessionShell(query, keeping, machine.activity, self.attachment, self)
        else:
            self.shell = ShellSession(query.size, machine.activity, self.attachment, self)
        self._task: asyncio.Task[None] | None = None  # opens the shell, later finds out why it is gone
        self._is_lost = False  # the channel closed while that task ran
        self._attempts, self._attached_at, self._progress = 0, -STABLE_S, (0, 0)
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()

    # From the client.

    def open(self) -> None:
        """Begin to open the shell; input that comes before it runs is kept for it."""
        self._task = asyncio.create_task(self._open(), name="open terminal")

    def feed(self, message: Input | Resize | Ack) -> None:
        """Pass on what the client sent."""
        if isinstance(message, Ack):
            self.attachment.acknowledged(message.bytes)
        elif self.over.done() or self.shell.is_closing():
            return
        elif isinstance(message, Resize):
            self.shell.resize(message)
        else:
            self.shell.type(message)
            self.attachment.typed()
            if self.shell.waiting_bytes > MAX_PENDING_INPUT_BYTES:
                self.end(LimitExceeded("the program in the terminal does not read its input; reconnect and paste less"))

    @property
    def waiting_bytes(self) -> int:
        """How much input waits here for the shell to take it; a window's worth more may wait on the machine."""
        return self.shell.waiting_bytes

    def end(self, error: AetherError | None, reason: str = "") -> None:
        """End the terminal: tell the client why and hang up the shell. A second call does nothing."""
        if self.over.done():
            return
        self.over.set_result(None)
        self.attachment.end(error, reason)
        self.shell.close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._on_end(self)

    async def wait_ended(self) -> None:
        """Wait until no task of the terminal is left but the caller; call after `end`."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _open(self) -> None:
        try:
            await self._machine.until_running()
            if isinstance(self.shell, SessionShell):
                await self._attach(self.shell)
            if isinstance(self.shell, ShellSession):
                size = self.shell.size
                await self._pool.open_shell(self._begin, Pty(size.cols, size.rows, START_WINDOW_BYTES))
            if self._is_lost:
                await self._go_on()
        except MachineNotRunning as error:
            self.end(error)
        except AetherError as error:  # perhaps the machine stopped
            self.end(await self._diagnosis.why_gone() or error)
        except Exception:
            log.exception("a terminal could not be opened")
            self.end(AetherError("the server failed to open a terminal; its log says why"))

    async def _attach(self, shell: SessionShell) -> None:
        """Attach to the session; on a machine that keeps none the terminal has a shell of its own."""
        try:
            await shell.attach()
            self._machine.note_sessions(True, None)
        except CannotKeep as reason:
            self._machine.note_sessions(False, str(reason))
            self.shell = ShellSession(shell.size, self._machine.activity, self.attachment, self)
            for message in shell.early:
                self.shell.type(message)
            shell.close()

    def is_of(self, query: TerminalQuery) -> bool:
        """Return whether the same page opened this terminal on the same session, and has let go of it since."""
        mine = (self._query.session, self._query.client)
        return None not in mine and mine == (query.session, query.client)

    def _begin(self) -> ShellSession:
        """Return the session of a channel that was opened just now."""
        assert isinstance(self.shell, ShellSession)
        self._is_lost = False
        return self.shell

    # From the shell.

    def shell_started(self) -> None:
        """Tell the client, even if the shell writes nothing yet, that input now reaches it; a session tells it more."""
        if isinstance(self.shell, ShellSession):
            self.attachment.announce(self._query.is_reconnect)

    def shell_refused(self, error: AetherError) -> None:
        """End the terminal: its session goes on without it."""
        self.end(error)

    def shell_closed(self) -> None:
        """End the terminal with the machine's reason or the shell's, or find out why the connection was lost."""
        error = self._machine.ended_error()
        if error is not None or self.shell.has_exited:
            self.end(error, self.shell.exit_reason)
        elif self._task is not None and not self._task.done():
            self._is_lost = True  # the task that opens the shell goes on from there
        else:
            self._task = asyncio.create_task(self._go_on(), name="go on without a shell")

    async def _go_on(self) -> None:
        """Attach to the session again; a shell that lived in its channel is gone, and so is the terminal."""
        try:
            if isinstance(self.shell, SessionShell):
                await self._attach_again(self.shell)
            else:
                await self._end_lost()
        except Exception:
            log.exception("a terminal could not go on")
            self.end(AetherError("the server failed to go on with a terminal; its log says why"))

    async def _attach_again(self, shell: SessionShell) -> None:
        """Attach to the session again: at once where it has made progress, and not for ever in a short time."""
        error: AetherError | None = None
        if self._loop.time() >= self._attached_at + STABLE_S:
            self._attempts = 0
        has_progress, self._progress = shell.progress != self._progress, shell.progress
        while self._attempts < ATTEMPTS:
            if self._attempts and not has_progress:
                await self._diagnosis.pause()
            has_progress = False
            self._attempts += 1
            if (ended := await self._diagnosis.ended_error()) is not None:
                return self.end(ended)
            self._is_lost = False
            try:
                await shell.attach()
                self._attached_at = self._loop.time()
                if not self._is_lost:
                    return
            except CannotKeep as reason:
                error = SshError(f"{reason}; reconnect for a new shell")
            except AetherError as refusal:
                error = refusal
            if error is not None:
                self._attempts += FAILURE
        self.end(await self._diagnosis.why_gone() or error or SshError(LOST))

    async def _end_lost(self) -> None:
        """End a terminal whose shell was killed or whose connection broke, perhaps because its machine stopped."""
        error = await self._diagnosis.why_gone()
        if error is None and not self.shell.exit_reason:
            error = SshError(f"{LOST} for a new shell")
        self.end(error, self.shell.exit_reason)
