"""Everything aether uses of asyncssh that asyncssh does not document, each with its reason.

`tests/ssh/test_internals.py` fails when a version of asyncssh changes one of these; the range in `pyproject.toml` holds
the versions it has passed on.
"""

import contextlib

import asyncssh
from asyncssh.constants import MSG_CHANNEL_WINDOW_ADJUST, MSG_IGNORE
from asyncssh.packet import SSHPacketLogger, UInt32

READ_BYTES = 16 * 1024

AnyChannel = asyncssh.SSHClientChannel[bytes] | asyncssh.SSHUNIXChannel[bytes]


def tune(connection: asyncssh.SSHClientConnection) -> None:
    """Spare a client connection what it does for each key and each packet without need."""
    _send_no_ignored_packets(connection)
    _keep_timer(connection)
    _limit_reads(connection)


def _send_no_ignored_packets(connection: asyncssh.SSHClientConnection) -> None:
    """Send each key as one packet.

    asyncssh sends an empty MSG_IGNORE before each, which protects ciphers in CBC mode (RFC 4253, section 9.3.1). aether
    allows none of them, and it doubles the work of both ends for a key: a write, a wake-up, an encryption.
    """
    send_packet = connection.send_packet

    def send(pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        if pkttype != MSG_IGNORE:
            send_packet(pkttype, *args, handler=handler)

    connection.send_packet = send  # type: ignore[method-assign]


def _keep_timer(connection: asyncssh.SSHClientConnection) -> None:
    """Send a keepalive request at a fixed interval, and count each packet received as an answer.

    asyncssh restarts the timer with each packet received: one timer cancelled and one made for each echo.
    """

    def note_alive() -> None:
        connection._keepalive_count = 0

    connection._reset_keepalive_timer = note_alive  # type: ignore[method-assign]


def _limit_reads(connection: asyncssh.SSHClientConnection) -> None:
    """Read at most READ_BYTES at once from the socket.

    asyncssh copies what it has not parsed yet for each packet: asyncio's 256 KiB a read cost a fifth of a flood, 64 KiB
    as much again; 8 KiB are too many reads. An echo beside a flood waits for one read's worth, too.
    """
    with contextlib.suppress(AttributeError):  # another event loop than asyncio's
        setattr(connection._transport, "max_size", READ_BYTES)  # noqa: B010 - in no type


def stop_automatic_grants(channel: AnyChannel) -> None:
    """Keep asyncssh from adjusting the channel's receive window (RFC 4254, section 5.2) by itself.

    It grants the whole window anew with the first bytes it delivers, drawn by the client or not, and once more at each
    resume, while older bytes still wait in its buffer.
    """
    channel._init_recv_window = 0  # it grants when less than half of this is left: never


def window_left(channel: AnyChannel) -> int:
    """Return how many bytes the far side of the channel may still send."""
    return channel._recv_window


def adjust_window(channel: AnyChannel, size: int) -> None:
    """Let the far side of the channel send `size` bytes more: SSH_MSG_CHANNEL_WINDOW_ADJUST (RFC 4254, section 5.2)."""
    channel._recv_window += size
    channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(size))
