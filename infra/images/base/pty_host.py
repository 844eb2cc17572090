#!/usr/bin/env python3
"""PTY host: the one process on a machine that owns its terminals, so that a shell outlives whoever looks at it.

    pty_host.py start          see that a host runs, in the background; print the sockets of all that run, as JSON
    pty_host.py find           print them without starting one
    pty_host.py relay SOCKET   standard input and output, for an SSH server that forwards no Unix sockets

A *session* is a login shell on a PTY, named by a UUID that a client makes. A connection to the Unix socket attaches
one client to one session, or asks for the list. What a session writes is kept: the last LOG_BYTES, with offsets from
its first byte, so that a client that was cut off goes on at the byte where it was. What is typed has offsets, too, one
count for each client: whatever is sent twice is written once. Nothing here needs more than Python 3.8.

Frames, both ways: length of the payload (4 bytes, big-endian), kind (1 byte), payload. Offsets have 8 bytes.

    to the host     O open: JSON, see `_open`        I input: offset, bytes     R size: columns, rows (2 bytes each)
                    A drawn up to: offset            L list                     H hang up: JSON {"id"}
    to the client   S session: JSON, see `attach`    D output: offset, bytes    Z size from here: offset, columns, rows
                    T input taken: offset, and how much of it the program has not read (4 bytes)
                    F in front: JSON     X exit: JSON {"status"} or {"signal"}     G another client has the session
                    L sessions: JSON     E error: JSON {"code", "message"}
"""

import _thread
import collections
import errno
import fcntl
import heapq
import json
import marshal
import mmap
import os
import re
import resource
import selectors
import signal
import socket
import stat
import struct
import sys
import termios
import time
import zlib

PROTOCOL = 1
LOG_BYTES = 1 << 20
SHORT_READ_BYTES = 4000  # a PTY gives 4095 at most: less was all of it
READ_BYTES = 16 << 10
SEND_BUFFER_BYTES = 8 << 10  # Linux doubles it; more would be old output after a Ctrl-C
MAX_FRAME_BYTES = 256 << 10
MAX_PENDING_BYTES = 1 << 20  # of input that the program has not read: a client sends no more before it was taken
MODES_BYTES = 32 << 10  # of output that has left the log are looked at together
MAX_STRING_BYTES = 64 << 10  # of an escape sequence that is cut in two by the log's start
MAX_CLIENTS = 16  # of a session, whose input is still counted
MAX_ENDED, MAX_ENDED_LOGS = 256, 4  # sessions whose exit is remembered, and those whose last output is
LINGER_S = 600  # without a session
SETTLE_S = 120  # all clients of a machine may be cut off at once: so long a shell that was used waits for its own
TAKEN_S = 0.05  # how late input may be confirmed where no output goes the same way
LOOKS_S = (0.02, 0.2, 1.0)  # after input or output: what is in front now?
HANG_UP_S = (0.1, 3.0)  # bash misses a SIGHUP before its wait for a key until SIGWINCH; what ignores both loses its PTY
TOUCH_S = 3600  # who cleans up /tmp must see that the socket is in use
LINKS = 10  # to sockets: OpenSSH's server lets through only those that its configuration lists (PermitOpen)
NO_OFFSET = (1 << 64) - 1
FROM_CLIENT = re.compile(r"(TERM|COLORTERM|LANG|LC_[A-Z]+)$")
OF_ONE_LOGIN = ("AETHER_LOGIN", "SHLVL", "PWD", "OLDPWD", "_", "SSH_TTY")

HEAD, OFFSET, SIZE, TAKEN = struct.Struct(">IB"), struct.Struct(">Q"), struct.Struct(">QHH"), struct.Struct(">QI")


def frame(kind, payload):
    """Return a frame; what is neither bytes nor a bytearray becomes JSON."""
    if not isinstance(payload, (bytes, bytearray)):
        payload = json.dumps(payload).encode()
    return HEAD.pack(len(payload), ord(kind)) + payload


class Modes:
    """What a terminal was told before the log's start and still holds: modes, colours, margins, charsets, title."""

    # Colours are most of what is written, and only the last ones count: they are looked for in the last bytes only.
    _SEQUENCE = re.compile(
        rb"[\x1b\x0e\x0f](?:(?<!\x1b)|\[(?![0-9;:]*m)([?>=<]?)([0-9;:]*)([ !]?)([@-~])"
        rb"|\](\d{1,4})(?:;([^\x07\x1b]*))?(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|([()])([0-9A-Za-z])|([=>c]))",
        re.S,
    )
    _SGR = re.compile(rb"\x1b\[([0-9;:]*)m|\x1b(?:c|\[!p)")
    _CUT = re.compile(rb"\x1b(?:[\]PX^_](?:[^\x07\x1b]|\x1b\Z)*|\[[?>=<]?[0-9;:]*[ !\"$']?|[()*+]?)\Z", re.S)
    _CUT_CHARACTER = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z")
    _RESET = (
        b"\x1b[!p\x1b[?9;1000;1002;1003;1004;1005;1006;1015;1016;2004;1;66l\x1b[?7;25h\x1b[r\x1b[4;20l"
        b"\x1b>\x1b(B\x1b)B\x0f\x1b[0m"
    )
    _ALTERNATE = (b"47", b"1047", b"1049")

    def __init__(self):
        self.rest = b""  # of a sequence or a character that is not whole yet
        self._clear()

    def _clear(self):
        self.is_alternate = False
        self._held, self._sgr = {}, {}  # in the order in which they were set

    def copy(self):
        other = Modes()
        other.rest, other.is_alternate = self.rest, self.is_alternate
        other._held, other._sgr = dict(self._held), dict(self._sgr)
        return other

    def feed(self, data):
        """Note what output says that has left the log."""
        data = self.rest + data
        if b"\x1b" in data or b"\x0e" in data or b"\x0f" in data:
            for found in self._SEQUENCE.finditer(data):
                self._note(found.group(), *found.groups(b""))
            for found in self._SGR.finditer(data, max(len(data) - 4096, 0)):
                self._colour(found.group(1))
        self.rest = self._cut(data)
        if len(self.rest) >= MAX_STRING_BYTES - 4:
            self.rest = self.rest[:2]  # the terminal swallows what follows up to the string's end

    def _cut(self, data):
        """Return what is not whole at the end: a sequence, perhaps with half of its terminator, or a character."""
        last = data.rfind(b"\x1b")
        before = data.rfind(b"\x1b", 0, last) if last == len(data) - 1 else -1
        for start in (before, last):
            cut = self._CUT.match(data, start) if start >= 0 else None
            if cut:
                return cut.group()
        cut = self._CUT_CHARACTER.search(data, max(len(data) - 3, 0))
        return cut.group() if cut else b""

    def _note(self, text, mark, numbers, between, final, osc, value, slot, charset, single):
        if single == b"c":
            self._clear()
        elif final in (b"h", b"l") and mark in (b"", b"?"):
            for number in numbers.split(b";"):
                if mark and number in self._ALTERNATE:
                    self.is_alternate = final == b"h"
                else:
                    self._hold((mark, number), b"\x1b[" + mark + number + final)
        elif between + final == b"!p":
            self._held, self._sgr = {key: held for key, held in self._held.items() if key[0] == b"osc"}, {}
        elif osc in (b"0", b"2", b"10", b"11", b"12") and value != b"?":
            self._hold((b"osc", b"2" if osc == b"0" else osc), text)
        elif osc in (b"110", b"111", b"112"):
            self._held.pop((b"osc", osc[1:]), None)
        elif (mark + final == b"r") or (between + final == b" q") or (mark == b">" and final == b"m"):
            self._hold((final, mark), text)
        elif slot or single or text in (b"\x0e", b"\x0f"):
            self._hold((slot or (b"=" if single else b"\x0f"), b""), text)

    def _hold(self, key, text):
        self._held.pop(key, None)
        self._held[key] = text

    def _colour(self, numbers):
        if not numbers or numbers.startswith(b"0"):
            self._sgr = {}
        if numbers:
            self._sgr.pop(numbers, None)
            self._sgr[numbers] = None
            if len(self._sgr) > 64:
                del self._sgr[next(iter(self._sgr))]

    def text(self):
        """Return what brings a terminal, whatever it was told before, into this state."""
        screen = b"\x1b[?1049h" if self.is_alternate else b"\x1b[?1049l"
        colours = b"".join(b"\x1b[" + numbers + b"m" for numbers in self._sgr)
        return self._RESET + screen + b"".join(self._held.values()) + colours + self.rest


class Log:
    """The last `size` bytes of output, by their offset from the first one; takes memory only as it is used."""

    _SCREEN = re.compile(rb"\x1b(?:\[[23]J|c|\[\?(?:47|1047|1049)([hl]))")

    def __init__(self, size=LOG_BYTES):
        self.size, self.start, self.end = size, 0, 0
        self._modes, self._dropped = Modes(), bytearray()  # the modes before what was dropped last
        self._ring = mmap.mmap(-1, size)

    def append(self, data):
        """Add output, at most `size` of it; the oldest goes."""
        over = self.end + len(data) - self.start - self.size
        if over > 0:
            dropped = self.read(self.start, over + 3)
            while over < len(dropped) and dropped[over] & 0xC0 == 0x80:  # in a character (RFC 3629): it goes whole
                over += 1
            self._dropped += dropped[:over]
            self.start += over
            if len(self._dropped) >= MODES_BYTES:
                self.modes()
        at = self.end % self.size
        first = self.size - at
        if len(data) <= first:
            self._ring[at : at + len(data)] = data
        else:
            self._ring[at:] = data[:first]
            self._ring[: len(data) - first] = data[first:]
        self.end += len(data)

    def modes(self):
        """Return the modes at the start."""
        self._modes.feed(bytes(self._dropped))
        self._dropped.clear()
        return self._modes

    def read(self, offset, most):
        """Return up to `most` bytes from `offset` on."""
        most = min(most, self.end - offset)
        at = offset % self.size
        data = self._ring[at : at + most]
        return data if len(data) == most else data + self._ring[: most - len(data)]

    def beginning(self):
        """Return where a replay to an empty terminal begins, and the modes there: the ordinary screen's last clear.

        Not a switch to or from the alternate screen: what is behind that one comes back with the program's end.
        """
        data = self.read(self.start, self.size)
        is_alternate, at = self.modes().is_alternate, 0
        for found in self._SCREEN.finditer(data):
            if found.group(1):
                is_alternate = found.group(1) == b"h"
            elif not is_alternate:
                at = found.start()
        modes = self.modes().copy()
        modes.feed(data[:at])
        return self.start + at, modes

    def close(self):
        self._ring.close()


class Session:
    """A login shell on a PTY, what it has written, and the client attached to it, if any."""

    def __init__(self, host, name, size, variables):
        self.host, self.name = host, name
        self.created_at = self.used_at = time.time()
        self.log, self.sizes = Log(), [(0, size)]
        self.given = 0  # some client has drawn the output up to here
        self.taken = collections.OrderedDict()  # input, by client
        self.client, self.pending, self.exit = None, bytearray(), None
        self.policy, self.free_at = {}, 0.0  # when output that nobody has seen may go
        self.is_used, self.left_at = False, 0.0  # whether something was typed; since when there is no client
        self._front, self._look, self._is_looking = None, 0, False
        self.pid, self.master = spawn(size, variables)
        os.set_blocking(self.master, False)
        self._wants = 0
        self.watch()

    # The client.

    def attach(self, client, wanted, is_new):
        """Send what the client lacks: from its offset, or all that an empty terminal needs to look the same."""
        if self.client is not None:
            if self.client.name != client.name:  # which says itself what it has been given
                self.given = max(self.given, self.client.next)
            self.client.replaced()
        self.client, self.policy = client, wanted
        offset, lost, modes = wanted.get("offset"), 0, None
        has_screen = offset is not None and offset <= self.log.end and not is_new
        if has_screen:
            self.given = max(self.given, min(wanted.get("drawn", offset), offset))
            if offset < self.log.start:
                lost, offset, modes = self.log.start - offset, self.log.start, self.log.modes()
        else:
            offset, modes = self.log.beginning() if not is_new else (0, None)
        self.given = max(self.given, self.log.start if has_screen else offset)
        client.next, client.until = offset, self.given
        client.sizes = [size for size in self.sizes if size[0] > offset]
        before = [size for at, size in self.sizes if at <= offset][-1]
        is_replay = not is_new and (not has_screen or (offset < self.log.end and before != wanted["size"]))
        client.send("S", {
            "protocol": PROTOCOL, "id": self.name, "is_new": is_new, "offset": offset, "lost": lost,
            "until": self.given, "end": self.log.end, "taken": self._taken_of(client.name),
            "modes": modes and modes.text().decode("latin-1"), "waiting": len(self.pending),
        })  # fmt: skip
        if is_replay:
            client.send("Z", SIZE.pack(offset, *before))
        self._front = None
        if is_new:
            self.look_soon()  # it is not a shell yet
        else:
            self.look()
        self.resize(*wanted["size"])
        if is_replay:
            client.sizes.append((self.log.end, wanted["size"]))
        if not has_screen and not is_new:
            self.signal(signal.SIGWINCH)  # the program draws its screen anew, whatever is missing
        self.pump()
        self.watch()

    def _taken_of(self, name):
        self.taken.setdefault(name, 0)
        self.taken.move_to_end(name)
        if len(self.taken) > MAX_CLIENTS:
            self.taken.popitem(last=False)
        return self.taken[name]

    def detach(self):
        """Go on without a client: what it has not seen is kept for its grace, or as long as the log has room."""
        self.client = None
        self.left_at = time.monotonic()
        self.free_at = self.left_at + self.policy["grace_s"]
        self.host.later(self.policy["grace_s"], self.go_on)
        self.host.limit(self.policy["max_detached"])
        self.host.later(SETTLE_S, lambda: self.host.limit(self.policy["max_detached"]))
        self.watch()

    # Input.

    def type(self, client, offset, data):
        """Take input from `offset` of the client's count; what was taken is dropped, and what comes too early."""
        taken = self.taken[client.name]
        if offset == NO_OFFSET:
            offset = taken
        if offset > taken or offset + len(data) <= taken:
            client.owe_taken()
            return
        data = data[taken - offset :]
        if len(self.pending) + len(data) > MAX_PENDING_BYTES:
            raise ValueError("more input than may wait")
        self.taken[client.name] = taken + len(data)
        self.is_used = True
        self.used_at = time.time()
        if self.master is not None and self.exit is None:
            if self.pending:
                self.pending += data
            else:
                self.pending += data[self._write(data) :]
                if self.pending:
                    self.watch()
        client.owe_taken(len(data))
        self.read()  # what the terminal itself echoes is there already

    def _write(self, data):
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the terminal is closed
            return len(data)

    def resize(self, cols, rows):
        """Set the size; the kernel sends SIGWINCH if it is another one."""
        if self.sizes[-1][1] != (cols, rows) and self.master is not None:
            while len(self.sizes) > 1 and self.sizes[1][0] <= self.log.start:
                del self.sizes[0]
            if self.sizes[-1][0] == self.log.end:
                self.sizes.pop()
            self.sizes.append((self.log.end, (cols, rows)))
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    # Output.

    def watch(self):
        """Ask to hear of what can be done: read where there is room for it, write what waits."""
        if self.master is None:
            return
        wants = (selectors.EVENT_READ if self._room() else 0) | (selectors.EVENT_WRITE if self.pending else 0)
        if wants != self._wants:
            self._wants = wants
            self.host.watch(self.master, wants, self.ready)

    def _room(self):
        """Return how much may be read: as the client's socket takes it, and no more than the log can keep for it."""
        client = self.client
        if client is not None and (client.out or client.next < self.log.end):
            return 0
        if client is None and time.monotonic() >= self.free_at:
            return READ_BYTES
        # three bytes less, as a character that the log's start would cut in two goes whole
        return max(0, min(READ_BYTES, self.log.size - 3 - (self.log.end - self.given)))

    def ready(self, events):
        """Write input that waits, read output."""
        if events & selectors.EVENT_WRITE and self.pending:
            size = self._write(self.pending)
            del self.pending[:size]
            if self.client is not None:
                self.client.owe_taken(size)
        if events & selectors.EVENT_READ:
            self.read()
        self.watch()

    def read(self):
        """Read what the program has written, as far as there is room, and send it; after the shell's exit all."""
        while self.master is not None:
            data, is_all = self._take_output()
            if data:
                self.used_at = time.time()
                self.log.append(data)
                self.pump()
            if is_all and self.exit is not None and self.master is not None:
                self._finish()
            if is_all or not data or self.exit is None:
                break
        self.look_soon()

    def _take_output(self):
        """Read what a frame has room for, 4095 bytes at once; return it, and whether it was all there is."""
        data, room = b"", self._room()
        while room > len(data):
            try:
                more = os.read(self.master, room - len(data))
            except BlockingIOError:
                return data, True
            except OSError:  # EIO: no process has the terminal open
                more = b""
            if not more:
                if self.exit is None:  # it is about to exit, or lives on without a terminal
                    self.host.watch(self.master, 0, self.ready)
                    self._wants = 0
                    self.host.later(0, self.host.reap)
                return data, True
            data += more
            if len(more) < SHORT_READ_BYTES and self.exit is None:
                break
        return data, False

    def pump(self):
        """Send the client what it lacks of the log, with the sizes in between, as far as its socket takes it."""
        client = self.client
        while client is not None and not client.out and client.next < self.log.end:
            if client.sizes and client.sizes[0][0] <= client.next:
                at, size = client.sizes.pop(0)
                client.send("Z", SIZE.pack(at, *size))
                continue
            stops = [client.until] if client.next < client.until else []
            stops += [client.sizes[0][0]] if client.sizes else []
            most = min([READ_BYTES] + [stop - client.next for stop in stops])
            data = self.log.read(client.next, most)
            payload = OFFSET.pack(client.next) + data
            client.next += len(data)
            client.send("D", payload)
        if client is not None and not client.out and client.next == self.log.end:
            for at, size in client.sizes:
                client.send("Z", SIZE.pack(at, *size))
            client.sizes = []
            if self.master is None:
                client.pay()
                client.send("X", self.exit)
                client.close_after()

    def go_on(self):
        """Go on where there was no room: the client's socket has taken what waited, or the log need not keep it."""
        self.pump()
        if self.exit is not None:  # perhaps there is nothing to read, which no event tells
            self.read()
        self.watch()

    # What is in front.

    def look_soon(self):
        """Look what is in front after input or output, a few times, as programs take a moment to start."""
        self._look = 0
        if not self._is_looking and self.client is not None:
            self._is_looking = True
            self.host.later(LOOKS_S[0], self._look_again)

    def _look_again(self):
        self._is_looking = False
        if self.client is None or self.master is None:
            return
        self.look()
        self._look += 1
        if self._look < len(LOOKS_S):
            self._is_looking = True
            self.host.later(LOOKS_S[self._look], self._look_again)

    def look(self):
        """Tell the client what is in front, if that has changed."""
        front = self.front()
        if front != self._front and self.client is not None and front is not None:
            self._front = front
            self.client.send("F", front)

    def front(self):
        """Return the command in front, and how the PTY treats keys; None once it is closed."""
        if self.master is None:
            return None
        try:
            group, modes = os.tcgetpgrp(self.master), termios.tcgetattr(self.master)
        except (OSError, termios.error):
            return None
        return {
            "command": command_of(group), "is_shell": group == self.pid, "ixon": bool(modes[0] & termios.IXON),
            "echo": bool(modes[3] & termios.ECHO), "canonical": bool(modes[3] & termios.ICANON),
        }  # fmt: skip

    def to_json(self):
        front = self.front() or {"command": "", "is_shell": True}
        cols, rows = self.sizes[-1][1]
        return {
            "id": self.name, "command": front["command"], "is_shell": front["is_shell"], "cols": cols, "rows": rows,
            "created_at": self.created_at, "last_used_at": self.used_at, "is_attached": self.client is not None,
        }  # fmt: skip

    # The end.

    def signal(self, number):
        """Send a signal to the job in front."""
        try:
            os.killpg(os.tcgetpgrp(self.master), number)
        except (OSError, TypeError):
            pass

    def hang_up(self):
        """Send SIGHUP to the shell and the job in front; what ignores it loses its terminal a little later."""
        if self.exit is None:
            for number in (signal.SIGHUP, signal.SIGCONT):
                self.signal(number)
                kill_group(self.pid, number)
            self.host.later(HANG_UP_S[0], lambda: self.exit is None and kill_group(self.pid, signal.SIGWINCH))
            self.host.later(HANG_UP_S[1], self._cut_off)

    def _cut_off(self):
        if self.exit is None:
            self.exit = {"signal": "HUP"}
        if self.master is not None:
            self._finish()

    def exited(self, status):
        """Read what is left of the output, then end."""
        if os.WIFSIGNALED(status):
            self.exit = {"signal": signal.Signals(os.WTERMSIG(status)).name[3:]}
        else:
            self.exit = {"status": os.WEXITSTATUS(status)}
        self.go_on()

    def _finish(self):
        self.host.watch(self.master, 0, self.ready)
        os.close(self.master)
        self.master = None
        self.pending.clear()
        self.host.ended(self)
        self.pump()


class Client:
    """A connection to the socket: a client of a session once it has opened one."""

    def __init__(self, host, connection):
        self.host, self.socket = host, connection
        self.session, self.name = None, ""
        self.next = self.until = 0
        self.sizes = []  # that the replay has not reached
        self.inbox, self.out = bytearray(), bytearray()
        self._owes, self._unconfirmed = False, 0  # the client has not been told what input was taken
        self._will_pay = False
        self._is_closing, self._wants = False, 0
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.watch()

    def watch(self):
        """Ask to hear of what can be done."""
        if self.socket is None:
            return
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        if wants != self._wants:
            self._wants = wants
            self.host.watch(self.socket, wants, self.ready)

    def ready(self, events):
        """Send what waits, read what has come."""
        if events & selectors.EVENT_WRITE and self.out:
            self._flush()
            if not self.out and self.session is not None and self.session.client is self:
                self.session.go_on()
        if events & selectors.EVENT_READ and self.socket is not None:
            self._read()
        self.watch()

    def _read(self):
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.inbox += data
        start = 0
        while self.socket is not None and len(self.inbox) - start >= HEAD.size:
            size, kind = HEAD.unpack_from(self.inbox, start)
            if size > MAX_FRAME_BYTES:
                self.fail("frame", f"a frame may have {MAX_FRAME_BYTES} bytes, not {size}")
                return
            end = start + HEAD.size + size
            if len(self.inbox) < end:
                break
            payload = bytes(self.inbox[start + HEAD.size : end])
            start = end
            try:
                self._take(chr(kind), payload)
            except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
                self.fail("frame", f"frame {chr(kind)!r} makes no sense: {error}")
            except (OSError, MemoryError) as error:
                self.fail("resources", "the machine cannot do this: %s" % (error or "out of memory"))
        del self.inbox[:start]

    def _take(self, kind, payload):
        session = self.session
        if kind == "I" and session is not None:
            session.type(self, OFFSET.unpack_from(payload)[0], payload[8:])
        elif kind == "A" and session is not None:
            session.given = max(session.given, min(OFFSET.unpack(payload)[0], session.log.end))
            session.go_on()
        elif kind == "R" and session is not None:
            session.resize(*struct.unpack(">HH", payload))
        elif kind == "O" and session is None:
            self._open(json.loads(payload.decode()))
        elif kind == "L":
            sessions = [known.to_json() for known in self.host.sessions.values()]
            self.send("L", {"sessions": sessions, "trouble": self.host.trouble})
        elif kind == "H":
            name = json.loads(payload.decode())["id"]
            if name not in self.host.sessions:
                self.fail("unknown", f"there is no session {name}")
            else:
                self.host.sessions[name].hang_up()
                self.send("L", {"sessions": []})
        else:
            raise ValueError("unknown, or not now")

    def _open(self, wanted):
        """Attach to a session, or start it.

        `protocol`; `id` of the session; `client`; `size` [columns, rows]; `offset` of the output to go on with or null;
        `drawn`: up to where that is on a screen, if not all; `create`: whether to start it if it is not known; `env`;
        `grace_s`, `max_detached`: what holds without a client.
        """
        if wanted["protocol"] != PROTOCOL:
            self.fail("protocol", f"this host speaks protocol {PROTOCOL}")
            return
        cols, rows = wanted["size"]
        wanted["size"] = (int(cols), int(rows))
        float(wanted["grace_s"]), int(wanted["max_detached"])
        self.name, name = str(wanted["client"]), str(wanted["id"])
        session, is_new = self.host.find(name), False
        if isinstance(session, dict):
            known = {"protocol": PROTOCOL, "id": name, "is_new": False, "offset": wanted.get("offset") or 0, "lost": 0}
            self.send("S", dict(known, until=0, end=0, taken=0, modes=None, waiting=0))
            self.send("X", session)
            self.close_after()
            return
        if session is None:
            if not wanted.get("create", True):
                self.fail("unknown", f"there is no session {name}")
                return
            env = {key: str(value) for key, value in wanted.get("env", {}).items() if FROM_CLIENT.match(key)}
            session, is_new = Session(self.host, name, wanted["size"], env), True
            self.host.add(session)
        self.session = session
        session.attach(self, wanted, is_new)

    def owe_taken(self, size=0):
        """Confirm input, and that the program reads it: a moment later, as an echo comes first; a lot of it at once."""
        self._unconfirmed += size
        self._owes = True
        if self._unconfirmed >= READ_BYTES:
            self.pay()
        elif not self._will_pay:
            self._will_pay = True
            self.host.later(TAKEN_S, self._pay_later)

    def _pay_later(self):
        self._will_pay = False
        self.pay()

    def pay(self):
        """Confirm now what input was taken."""
        if self._owes and self.session is not None:
            self._owes, self._unconfirmed = False, 0
            self.send("T", TAKEN.pack(self.session.taken.get(self.name, 0), len(self.session.pending)))

    def send(self, kind, payload):
        """Send a frame."""
        data = frame(kind, payload)
        self.out += data
        if len(self.out) == len(data):
            self._flush()
            self.watch()

    def _flush(self):
        try:
            while self.out and self.socket is not None:
                del self.out[: self.socket.send(self.out)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._is_closing:
            self.close()

    def replaced(self):
        """Another client has the session now."""
        self.pay()
        self.session = None
        self.send("G", b"")
        self.close_after()

    def fail(self, code, message):
        """Say what is wrong, and close."""
        self.send("E", {"code": code, "message": message})
        self.close_after()

    def close_after(self):
        """Close once all is sent."""
        self._is_closing = True
        if not self.out:
            self.close()

    def close(self):
        """Close now; the session goes on."""
        if self.socket is None:
            return
        self.host.watch(self.socket, 0, self.ready)
        self.host.clients.discard(self)
        self.socket.close()
        self.socket = None
        session, self.session = self.session, None
        if session is not None and session.client is self:
            session.detach()


class Host:
    """All sessions of a machine, and the loop that serves them."""

    def __init__(self, path, listener):
        self.path, self.listener = path, listener
        self.trouble = None  # the last error that was not foreseen
        self.sessions, self._ended = collections.OrderedDict(), collections.OrderedDict()
        self.clients = set()
        self._timers, self._order, self._idle_since = [], 0, time.monotonic()
        self._selector, self._watched = selectors.DefaultSelector(), {}
        self._is_stopping = False
        self._bell, bell = os.pipe()
        for fd in (self._bell, bell):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(bell)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self.watch(self._bell, selectors.EVENT_READ, self._rung)
        self.watch(listener, selectors.EVENT_READ, self._accept)
        self.later(TOUCH_S, self._touch)

    def watch(self, source, events, ready):
        """Call `ready(events)` when one of `events` can be done; 0 ends that."""
        fd = source if isinstance(source, int) else source.fileno()
        if fd not in self._watched:
            if events:
                self._selector.register(fd, events, ready)
                self._watched[fd] = events
        elif not events:
            self._selector.unregister(fd)
            del self._watched[fd]
        else:
            self._selector.modify(fd, events, ready)

    def later(self, delay_s, call):
        """Call once, after a delay."""
        self._order += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._order, call))

    def run(self):
        """Serve until there has been no session for a while, or SIGTERM."""
        while not self._is_over():
            wait_s = self._timers[0][0] - time.monotonic() if self._timers else LINGER_S
            for key, events in self._selector.select(min(max(wait_s, 0), LINGER_S)):
                if key.fd in self._watched:  # else what came before it has closed it
                    self._call(key.data, events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._call(heapq.heappop(self._timers)[2])
        with locked(os.path.dirname(self.path)):
            leave(self.path)

    def _call(self, call, *arguments):
        """Call; what goes wrong ends one session or one client, and never the others."""
        try:
            call(*arguments)
        except Exception as error:  # a defect, or no memory: a list tells it, and the other shells go on
            self.trouble = repr(error)
            owner = getattr(call, "__self__", None)
            if isinstance(owner, Session):
                owner.hang_up()
            elif isinstance(owner, Client):
                owner.close()

    def _is_over(self):
        if self.sessions or (self._is_stopping and any(client.out for client in self.clients)):
            return False
        return self._is_stopping or time.monotonic() - self._idle_since >= LINGER_S

    def _accept(self, _):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        self.clients.add(Client(self, connection))

    def _rung(self, _):
        try:
            os.read(self._bell, 4096)
        except BlockingIOError:
            pass
        self.reap()

    def reap(self):
        """Note which shells have exited."""
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
            while pid:
                for session in [known for known in self.sessions.values() if known.pid == pid and known.exit is None]:
                    session.exited(status)
                pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass

    def find(self, name):
        """Return a session, that of one that has ended or at least how it exited, or None."""
        return self.sessions.get(name) or self._ended.get(name)

    def add(self, session):
        """Serve a new session."""
        self.sessions[session.name] = session

    def ended(self, session):
        """Remember how a session has ended, and for a while its last output."""
        del self.sessions[session.name]
        self._idle_since = time.monotonic()
        self._ended[session.name] = session
        whole = [name for name, ended in self._ended.items() if isinstance(ended, Session) and ended.client is None]
        for name in whole[:-MAX_ENDED_LOGS]:
            self._ended[name].log.close()
            self._ended[name] = self._ended[name].exit
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def limit(self, most):
        """Hang up the longest silent of too many sessions that have no client, and are not about to get theirs back."""
        since = time.monotonic() - SETTLE_S
        silent = [known for known in self.sessions.values() if known.client is None and known.exit is None]
        silent = [known for known in silent if known.left_at <= since or not known.is_used]
        silent.sort(key=lambda known: known.used_at)
        for session in silent[: max(len(silent) - most, 0)]:
            session.hang_up()

    def stop(self):
        """Hang up all sessions; the loop ends once their last output is sent."""
        self._is_stopping = True
        for session in list(self.sessions.values()):
            session.hang_up()

    def _touch(self):
        """Keep the socket's path: who cleans up /tmp may have removed it."""
        self.later(TOUCH_S, self._touch)
        try:
            os.utime(self.path)
        except OSError:
            folder()
            listener = listen(self.path)
            self.watch(self.listener, 0, self._accept)
            self.listener.close()
            self.listener = listener
            self.watch(self.listener, selectors.EVENT_READ, self._accept)


def spawn(size, variables):
    """Start a login shell on a new PTY as sshd does; return its process and the PTY's master."""
    master, slave = os.openpty()
    try:
        cols, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        modes = termios.tcgetattr(slave)
        modes[0] |= 0x4000  # IUTF8: backspace erases a whole character
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        env = {key: value for key, value in os.environ.items() if key not in OF_ONE_LOGIN}
        env.update(variables, SSH_TTY=os.ttyname(slave))
        pid = os.fork()
    except OSError:
        os.close(master)
        os.close(slave)
        raise
    if pid == 0:
        become_shell(slave, env)
    os.close(slave)
    return pid, master


def become_shell(slave, env):
    """Become the shell, in the child."""
    try:
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):  # SIGKILL, SIGSTOP, and those of the C library
                pass
        resource.setrlimit(resource.RLIMIT_NOFILE, NOFILE)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        try:
            os.chdir(env.get("HOME", "/"))
        except OSError as error:
            os.write(2, ("{}: {}\r\n".format(env.get("HOME"), error.strerror)).encode())
        shell = env.get("SHELL") or "/bin/sh"
        os.execve(shell, ["-" + os.path.basename(shell)], env)
    finally:
        os._exit(127)


def kill_group(pid, number):
    """Send a signal to a process group, if it is still there."""
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def command_of(group):
    """Return the command line of a job's first process, where the system tells it (Linux' /proc)."""
    try:
        with open(f"/proc/{group}/cmdline", "rb") as file:
            words = file.read(1024).rstrip(b"\0").decode(errors="replace").split("\0")
    except OSError:
        return ""
    words[0] = os.path.basename(words[0]).lstrip("-")
    return "".join(char if char.isprintable() else " " for char in " ".join(words))[:200]


def folder():
    """Return a private directory for sockets, short enough for their addresses; PermissionError if it is another's."""
    path = f"/tmp/aether-{os.getuid()}-{zlib.crc32(os.fsencode(os.environ.get('HOME', ''))):08x}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EACCES, f"{path} is not a private directory of ours")
    return path


def listen(path):
    """Listen on a Unix socket that only its owner may open."""
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(UMASK)
    listener.listen(1024)  # all terminals of a machine come back at once
    listener.setblocking(False)
    return listener


def is_served(path):
    """Say whether a host listens; what a dead one left is removed."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            if os.path.exists(path):
                os.unlink(path)
            return False
        except OSError:  # too busy to answer
            return True
    return True


def locked(where):
    """Return the folder's lock, held until it is closed; one that was deleted meanwhile is not it."""
    path = os.path.join(where, "lock")
    while True:
        lock = open(path, "w")  # noqa: SIM115 - held by the caller
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path) and os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
            return lock
        lock.close()


def leave(path):
    """Remove what a host has in its folder, and the folder if nothing else is in it."""
    where, name = os.path.split(path)
    for entry in os.listdir(where):
        found = os.path.join(where, entry)
        if found in (path, __file__) or (os.path.islink(found) and os.readlink(found) == name):
            os.unlink(found)
    if os.listdir(where) == ["lock"]:
        os.unlink(os.path.join(where, "lock"))
        os.rmdir(where)


def find(own, is_starting):
    """Print the sockets of the hosts that run, after starting ours if that is asked for."""
    where = folder()
    path = os.path.join(where, own)
    with locked(where):
        if not is_served(path) and is_starting:
            listener = listen(path)
            if os.fork() == 0:
                serve(path, listener)
        names = [name for name in os.listdir(where) if name.endswith(".sock") and is_served(os.path.join(where, name))]
        sockets = {name: numbered(where, name) for name in names}
    print(json.dumps({"own": own, "sockets": sockets}))


def numbered(where, name):
    """Return a link to a socket, by a name that sshd_config lists; the socket itself where all of those are taken."""
    links = [os.path.join(where, str(number)) for number in range(LINKS)]
    for link in links:
        if os.path.islink(link) and os.readlink(link) == name:
            return link
    for link in links:
        if not os.path.exists(link):  # or it leads to a socket that is gone
            if os.path.islink(link):
                os.unlink(link)
            os.symlink(name, link)
            return link
    return os.path.join(where, name)


def serve(path, listener):
    """Become the host, a process of its own in the background."""
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        keep = {0, 1, 2, listener.fileno()}
        for fd in set(range(3, 256)) - keep:
            try:
                os.close(fd)
            except OSError:
                pass
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        try:
            begin_anew(path, listener)
        except OSError:  # no room for the program: without, it takes more memory
            host(path, listener)
    finally:
        os._exit(0)


def begin_anew(path, listener):
    """Run the compiled program in this process: what it took to compile it would stay, a third of its memory."""
    from importlib.util import MAGIC_NUMBER  # noqa: PLC0415 - the host itself does without

    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    program = os.path.join(os.path.dirname(path), os.path.splitext(os.path.basename(__file__))[0] + ".pyc")
    with open(program, "wb") as file:
        file.write(MAGIC_NUMBER + bytes(12) + marshal.dumps(frame.f_code))
    listener.set_inheritable(True)
    os.execv(sys.executable, [sys.executable, "-ISOO", program, "serve", path, str(listener.fileno())])


def host(path, listener):
    """Serve until the host is over, as no leader of a session, which would get a terminal that it opens."""
    if os.fork():
        os._exit(0)
    try:  # more files for itself, not for its shells
        resource.setrlimit(resource.RLIMIT_NOFILE, (NOFILE[1], NOFILE[1]))
    except (OSError, ValueError):
        pass
    Host(path, listener).run()


def relay(path):
    """Copy between standard input and output and a host's socket until either ends."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # at a stop the last output is still to come
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        _thread.start_new_thread(copy, (0, connection.fileno(), connection))
        copy(connection.fileno(), 1)


def copy(source, target, ending=None):
    """Copy until the source's end, then end a socket that takes no more."""
    data = os.read(source, READ_BYTES)
    while data:
        data = data[os.write(target, data) :] or os.read(source, READ_BYTES)
    if ending is not None:
        ending.shutdown(socket.SHUT_WR)


NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)
UMASK = os.umask(0o077)
os.umask(UMASK)


def main(arguments):
    """Do what the command line says; return the exit status."""
    version = os.path.basename(__file__).rpartition(".")[0].rpartition("-")[2]  # pty-host-VERSION.py
    own = f"{PROTOCOL}-{version}.sock"
    if arguments[:1] == ["relay"]:
        relay(arguments[1])
    elif arguments[:1] == ["serve"]:  # see `begin_anew`
        listener = socket.socket(fileno=int(arguments[2]))
        listener.set_inheritable(False)  # no shell is to have it
        host(arguments[1], listener)
    elif arguments in (["start"], ["find"]):
        find(own, arguments == ["start"])
    else:
        sys.stderr.write(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"pty_host: {error}")
