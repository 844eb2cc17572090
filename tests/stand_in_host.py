"""In place of the PTY host, as little as keeps one shell: `python3 stand_in_host.py SOCKET COMMAND`.

It goes to the background, owns the PTY of `sh -c COMMAND`, and ignores SIGHUP. One client after the other, on the
socket, is on that PTY; the last one is sent what the shell wrote before its end, some time later "[over]", and is
disconnected.
"""

import os
import pty
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

LATE_S = 0.5  # a shell is gone, and its terminal, before all that it wrote is sent


def main(path, command):
    """Print "up" once the socket is there, and serve it in the background."""
    Path(path).parent.mkdir(0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            serve(listener, command)
        os._exit(0)
    sys.stdout.write("up\n")


def serve(listener, command):
    """Have the shell started by the first client, and leave it to the next when that one goes."""
    client, master = listener.accept()[0], None
    while True:
        if master is None:
            pid, master = pty.fork()
            if pid == 0:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)
                os.execv("/bin/sh", ["sh", "-c", command])
        if copy(client, master):
            return
        client = listener.accept()[0]


def copy(client, master):
    """Copy both ways until the client goes, or the shell has ended: then return True."""
    ways = {client.fileno(): master, master: client.fileno()}
    with client, selectors.DefaultSelector() as selector:
        for fd in ways:
            selector.register(fd, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                try:
                    data = os.read(key.fd, 4096)
                except OSError:  # no process has the terminal open
                    data = b""
                if not data and key.fd == master:
                    os.close(master)
                    os.wait()
                    time.sleep(LATE_S)
                    client.sendall(b"[over]")
                if not data:
                    return key.fd == master
                os.write(ways[key.fd], data)


main(*sys.argv[1:])
