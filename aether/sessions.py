"""TerminalSession: one SSH PTY and the client attached to it.

The path of a key: `feed` → SSH channel → PTY. The path of output: `data_received`, asyncssh's session callback with no
stream in between → `output.Output`, which holds the shell back where the client is slow.

Why it is as it is, by `scripts/bench.py` (each kept because it paid there):
- One SSH connection a machine, a channel a terminal: the key exchange and the fork, some 200 ms, are paid once.
- aes-gcm before chacha20, one packet a key, reads that asyncssh need not copy again and again: `ssh.client`.
- Frames read and written on a wire of ours, keys checked by a compiled validator: `handlers.wire`, `messages`.
- What leads to the next write comes first, what is only noted comes after it.
- The SSH window follows the client's screen, and the kernel keeps little: Ctrl-C in a flood is answered at once, where
  OpenSSH's own client at 200 KB/s first shows seconds of old output: `output`, `flow`, `handlers.terminal`.
- Beside somebody who types, a flood is slowed: the SSH server that both share answers the key first: `flow.Typing`.
- Collections of garbage are rare and spare what was there at the start: `server.py`.
uvloop takes nothing off an echo any more: half of what is left is Python, a quarter the waking of processes.
JSON text frames add 8 % to the bytes of text, and little to the time: the protocol stays as it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncssh

from aether import messages
from aether.activity import ActivityPublisher
from aether.errors import AetherError, LimitExceeded, MachineNotRunning, SshError
from aether.flow import Typing
from aether.messages import Ack, Input, Resize, TerminalQuery
from aether.output import Client, Output
from aether.ssh.window import ReceiveWindow

log = logging.getLogger(__name__)

RESIZE_PAUSE_S = 0.05
REDRAW_S = 1.0  # for a shell or an editor to draw what another size asks for
MAX_PENDING_INPUT_BYTES = 8 << 20
CLOSE_NORMAL = 1000


class TerminalSession(asyncssh.SSHClientSession[bytes]):
    """One shell and its client, from the WebSocket's opening to whichever end closes first.

    Args:
        activity: is told of input and output.
        client: gets the messages.
        query: first size, and whether the client lost an earlier shell.
        ended_error: what the client is told when the machine does not run, None while it runs.
        diagnose: the same, but the provider is asked first: for a shell that is gone but did not exit.
        on_end: called once when the session is over.
        typing: who types on the machine, for all its sessions.
    """

    def __init__(
        self,
        activity: ActivityPublisher,
        client: Client,
        query: TerminalQuery,
        ended_error: Callable[[], AetherError | None],
        diagnose: Callable[[], Awaitable[AetherError | None]],
        on_end: Callable[["TerminalSession"], None],
        typing: Typing,
    ) -> None:
        self.size = query.size
        self._told_size: Resize | None = None
        self._redrawn_at = 0.0
        self._activity = activity
        self._client = client
        self._is_reconnect = query.is_reconnect
        self._ended_error = ended_error
        self._diagnose = diagnose
        self._on_end = on_end
        self._output = Output(client, typing)
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._shell: asyncssh.SSHClientChannel[bytes] | None = None  # the channel, once its shell runs
        self._task: asyncio.Task[None] | None = None  # opens the shell, later finds out why it is gone
        self._pending_input = bytearray()
        self._is_blocked = False
        self._loop = asyncio.get_running_loop()
        self._resizing: asyncio.TimerHandle | None = None
        self._is_over = False
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._is_lost = False
        self._exit_reason = ""
        self._has_exited = False

    # From the client.

    def open(self, attach: Callable[["TerminalSession"], Awaitable[object]]) -> None:
        """Begin to open the shell; input that comes before it is there is kept for it."""
        self._task = asyncio.create_task(self._open(attach), name="open terminal")

    def feed(self, message: Input | Resize | Ack) -> None:
        """Pass on what the client sent."""
        if isinstance(message, Ack):
            self._output.acknowledged(message.bytes)
        elif self._is_over or (self._channel is not None and self._channel.is_closing()):
            return
        elif isinstance(message, Resize):
            self.size = message
            if self._resizing is None:
                self._resizing = self._loop.call_later(RESIZE_PAUSE_S, self._end_resize)
                self._resize()
        else:
            self._type(message.data)

    @property
    def waiting_bytes(self) -> int:
        """How much input waits here for the shell to take it; a window's worth more may wait on the machine."""
        return len(self._pending_input) + (0 if self._shell is None else self._shell.get_write_buffer_size())

    def _type(self, data: bytes) -> None:
        self._resize()  # before the keys that came after it
        if self._shell is None or self._is_blocked:
            self._pending_input += data
        else:
            self._shell.write(data)
        self._output.typed()
        self._activity.note_input()
        if self.waiting_bytes > MAX_PENDING_INPUT_BYTES:
            self.end(LimitExceeded("the program in the terminal does not read its input; reconnect and paste less"))

    def _resize(self) -> None:
        """Tell the shell its size; of a storm of sizes it hears the first, a few, and the last."""
        if self._shell is not None and self._told_size != self.size:
            self._told_size = self.size
            self._redrawn_at = self._loop.time() + REDRAW_S
            self._shell.change_terminal_size(self.size.cols, self.size.rows)

    def _end_resize(self) -> None:
        self._resizing = None
        self._resize()

    def end(self, error: AetherError | None, reason: str = "") -> None:
        """End the session: tell the client why and hang up the shell. A second call does nothing."""
        if self._is_over:
            return
        self._output.close()
        self._is_over = True
        self.over.set_result(None)
        self._pending_input.clear()
        if self._resizing is not None:
            self._resizing.cancel()
        if error is not None:
            self._client.send(messages.error(error.message))
            self._client.end(error.ws_close, error.message)
        else:
            self._client.end(CLOSE_NORMAL, reason)
        if self._channel is not None:
            if self._shell is not None and not self._shell.is_closing():
                self._shell.send_signal("HUP")  # sshd sees a close only behind input that nobody reads
            self._channel.abort()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._on_end(self)

    async def wait_ended(self) -> None:
        """Wait until nothing of the session is left to run but the caller; call after `end`."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _open(self, attach: Callable[["TerminalSession"], Awaitable[object]]) -> None:
        try:
            await attach(self)
            if self._is_lost:
                await self._end_lost()
        except MachineNotRunning as error:
            self.end(error)
        except AetherError as error:  # perhaps the machine stopped
            self.end(await self._diagnose() or error)
        except Exception:
            log.exception("a terminal could not be opened")
            self.end(AetherError("the server failed to open a terminal; its log says why"))

    # From the shell: asyncssh's callbacks.

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel exists; the shell is not started yet."""
        self._channel, self._is_lost = chan, False
        self._output.hold(ReceiveWindow(chan))
        if self._is_over:
            chan.abort()

    def session_started(self) -> None:
        """The shell runs: say so to a client that lost another, then give it what has been typed meanwhile."""
        self._shell = self._channel
        if self._is_over or self._shell is None or self._shell.is_closing():  # a shell may exit at once
            return
        # a shell that says nothing yet is one, too: from now on keys reach it
        self._client.send(messages.reconnected() if self._is_reconnect else messages.output(b""))
        self._resize()
        self._write_pending()

    def pause_writing(self) -> None:
        """The shell reads too slowly: keys wait here, where many small ones cost no more than their size."""
        self._is_blocked = True

    def resume_writing(self) -> None:
        """Pass on what has waited."""
        self._is_blocked = False
        self._write_pending()

    def _write_pending(self) -> None:
        if self._pending_input and self._shell is not None and not self._shell.is_closing():
            pending = bytes(self._pending_input)
            self._pending_input.clear()
            self._shell.write(pending)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """The shell wrote; what it draws anew for another size is no activity, as the size is none."""
        self._output.take(data)
        if self._loop.time() >= self._redrawn_at:
            self._activity.note_output()

    def exit_status_received(self, status: int) -> None:
        """The shell exited."""
        self._has_exited = True
        self._exit_reason = f"shell exited with status {status}"

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """The shell was killed."""
        self._exit_reason = f"shell was ended by signal {signal}"

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, by the shell's end or by the loss of the connection."""
        self._output.finish()
        error = self._ended_error()
        if error is not None or self._has_exited:
            self.end(error, self._exit_reason)
        elif self._task is not None and not self._task.done():
            self._is_lost = True  # which the task that opens the shell tells
        elif not self._is_over:
            self._task = asyncio.create_task(self._end_lost(), name="find out why a shell is gone")

    async def _end_lost(self) -> None:
        """A shell that was killed, or whose connection broke: perhaps its machine stopped."""
        error = await self._diagnose()
        if error is None and not self._exit_reason:
            error = SshError("the connection to the machine was lost; reconnect for a new session")
        self.end(error, self._exit_reason)
