"""Credit: how much of a shell's output may be on its way between its PTY and the client's screen (pure).

One number bounds all of it: what the shell may still send, what lies in our buffers and the kernel's, and what the
client has received but not drawn. So memory is bounded whatever the client does, and a Ctrl-C in a flood is followed
by at most that much old output. The number follows the client's measured rate and is worth about WORTH_S of it: a slow
client is never far behind, a fast one never waits for us.
"""

MIN_WINDOW_BYTES = 48 * 1024  # more than clients may collect before they acknowledge (32 KiB), or both would wait
ACK_BYTES = 32 * 1024  # clients acknowledge at least so often
START_WINDOW_BYTES = 128 * 1024
MAX_WINDOW_BYTES = 768 * 1024  # less than a session's log, which keeps what is on its way for who is cut off
MAX_GRANT_BYTES = 32 * 1024  # what is worth a message of its own, however large the window
WORTH_S = 0.25
SAMPLE_S = 0.05
LEAST_S = 0.0001
SAMPLE_BYTES = 16 * 1024  # less is typing, which says nothing about how fast a client draws
TYPING_S = 0.5  # after a key the user still counts as typing
CALM_BYTES_S = 1 << 20  # more than eyes can follow


class TypingPriority:
    """In which terminal of a machine a user types: meanwhile the others may write CALM_BYTES_S each.

    They share one SSH server process, which answers a key three times as late while another terminal has it copy all
    that `yes` can write.
    """

    def __init__(self) -> None:
        self._terminal: object = None
        self._at = 0.0

    def note(self, terminal: object, now: float) -> None:
        """Note that the user typed in the terminal that the object `terminal` stands for."""
        self._terminal, self._at = terminal, now

    def pause_s(self, terminal: object, grant: int, now: float) -> float:
        """Return how long `terminal` waits after a grant of `grant` bytes, because a user types in another one."""
        is_beside = self._terminal is not None and self._terminal is not terminal and now - self._at < TYPING_S
        return grant / CALM_BYTES_S if is_beside else 0.0


class Credit:
    """The window of one terminal; all amounts are bytes, all times seconds on any steady clock."""

    def __init__(self, now: float) -> None:
        self.window = START_WINDOW_BYTES
        self.most = START_WINDOW_BYTES  # for a client that does not say what it has drawn
        self._unreceived = START_WINDOW_BYTES  # what the shell may still send
        self._undrawn = 0  # what was sent to the client, and not drawn yet
        self._busy_since = now
        self._busy_s = 0.0  # for how long there was something to draw since the last sample,
        self._sampled = 0  # and how much of it was drawn

    @property
    def undrawn(self) -> int:
        """How much was sent to the client and is not drawn yet."""
        return self._undrawn

    def restart(self) -> None:
        """Begin with the window of another channel; what was sent is still to be drawn."""
        self._unreceived = START_WINDOW_BYTES

    def acknowledge(self) -> None:
        """Allow a larger window: the client itself says what it has drawn, so what lies in kernels is counted, too."""
        self.most = MAX_WINDOW_BYTES

    def received(self, size: int) -> None:
        """Count `size` bytes that the shell wrote."""
        self._unreceived -= size

    def sent(self, size: int, now: float) -> None:
        """Count `size` bytes sent to the client: more than was received where invalid UTF-8 has become U+FFFD."""
        if self._undrawn < ACK_BYTES:  # so little may be drawn already, and not said
            self._busy_since = now
        self._undrawn += size

    def drawn(self, size: int, now: float) -> None:
        """Count `size` bytes that the client says it has drawn; more than was sent counts as all of it."""
        size = min(size, self._undrawn)
        if not size:
            return
        self._undrawn -= size
        self._sampled += size
        self._busy_s += now - self._busy_since
        self._busy_since = now
        is_enough = self._sampled >= SAMPLE_BYTES and self._busy_s >= SAMPLE_S
        has_caught_up = self._undrawn == 0 and self._sampled >= self.window
        if is_enough or has_caught_up:
            worth = self._sampled / max(self._busy_s, LEAST_S) * WORTH_S
            most = min(self.window * 2, self.most)  # step by step: kernels take output in bursts
            self.window = int(max(min(worth, most), MIN_WINDOW_BYTES))
            self._busy_s, self._sampled = 0.0, 0

    def take_grant(self, most: int = MAX_WINDOW_BYTES) -> int:
        """Return how much more the shell may send, 0 while that is too little for a message of its own.

        Args:
            most: of bytes that may come unasked: there is no room for more.
        """
        grant = min(self.window - self._undrawn, most) - self._unreceived
        if grant < min(self.window // 4, MAX_GRANT_BYTES):
            return 0
        self._unreceived += grant
        return grant
