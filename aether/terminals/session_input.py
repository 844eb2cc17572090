"""SessionInput: what is typed into a session, on its way to the machine's PTY host."""

from collections.abc import Callable

from aether import messages
from aether.messages import Input
from aether.terminals.attachment import Client
from aether.terminals.frames import TAKEN, input_frame
from aether.terminals.later import Later
from aether.terminals.unconfirmed import Unconfirmed

MAX_ON_ITS_WAY_BYTES = 64 * 1024  # between here and the program
MAX_INPUT_BYTES = 16 * 1024  # a frame
TAKEN_S = 0.1  # how late the client may hear that its input was taken


class SessionInput:
    """Sends input, sends again what a lost channel may have swallowed, and tells the client what was taken.

    Args:
        send: sends a frame to the host; returns False while no channel is there.
    """

    def __init__(self, client: Client, send: Callable[[bytes], bool]) -> None:
        self._client = client
        self._send = send
        self._unconfirmed = Unconfirmed()
        self._waiting = 0  # what the host has and the program has not read
        self._can_send = False
        self._taken = Later(TAKEN_S, self._tell_taken)

    @property
    def taken(self) -> int:
        """Up to where the host has it."""
        return self._unconfirmed.taken

    @property
    def waiting_bytes(self) -> int:
        """How much the program has not read."""
        return self._unconfirmed.size + self._waiting

    def type(self, message: Input) -> None:
        """Send input on, or keep it for the next channel."""
        self._unconfirmed.add(message.data, message.offset)
        self._go_on()

    def attached(self, taken: int, waiting: int, is_same: bool) -> None:
        """Begin with a channel: send what the host lacks of what was typed into the same shell.

        Args:
            taken: what the host has, and `waiting`: what of all input there the program has not read.
        """
        self._unconfirmed.restart(taken, is_same)
        self._waiting = waiting
        self._can_send = True
        self._go_on()

    def detached(self) -> None:
        """Keep what is typed from here on; the client hears what was taken before."""
        self._can_send = False
        self._taken.hurry()

    def confirmed(self, payload: bytes) -> None:
        """Take the host's word for what it has taken, and what of that the program has not read."""
        taken, self._waiting = TAKEN.unpack(payload)
        self._unconfirmed.confirm(taken)
        self._taken.ask()
        self._go_on()

    def close(self) -> None:
        """Tell the client nothing more, and let go of the session."""
        self._send = lambda _: False
        self._taken.close()

    def _tell_taken(self) -> None:
        self._client.send(messages.taken(self._unconfirmed.taken))

    def _go_on(self) -> None:
        """Send what the host takes now; more when it says that the program has read."""
        while self._can_send and self._unconfirmed.has_more:
            room = MAX_ON_ITS_WAY_BYTES - self._unconfirmed.on_its_way - self._waiting
            if room <= 0:
                break
            offset, data = self._unconfirmed.take(min(room, MAX_INPUT_BYTES))
            if not data or not self._send(input_frame(offset, data)):
                break
