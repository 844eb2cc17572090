#!/usr/bin/env python3
"""Create a machine, run a command in its terminal, destroy it: against a running aether, or one started for that."""

import argparse
import asyncio
import json
import re
import secrets
import signal
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import websocket_connect

ROOT = Path(__file__).parent.parent
READY_S = 120.0  # a new deployment starts, and a tunnel is dug
COMMAND = "echo aether-$((6*7))\n"
ANSWER = "aether-42"  # what is echoed while it is typed is not this


class SmokeError(Exception):
    """The smoke test failed; the text says at what."""


class Smoke:
    """One pass over one server."""

    def __init__(self, url: str, login: tuple[str, str] | None) -> None:
        self._url = url.rstrip("/")
        self._login: dict[str, Any] = {"auth_username": login[0], "auth_password": login[1]} if login else {}
        self._client = SimpleAsyncHTTPClient(force_instance=True)

    async def run(self) -> None:
        """Go through it; a machine that was made is destroyed, whatever happens.

        Raises:
            SmokeError: saying which step failed and how.
        """
        try:
            await _step("the server is ready", self._until_ready())
            creating = asyncio.ensure_future(self._call("POST", "/machines", {"name": _name()}))
            try:
                machine = await _step("a machine is created", asyncio.shield(creating))
                await _step("its terminal runs a command", self._run_command(machine["id"]))
            finally:
                machine = await creating  # the server makes it even if its caller no longer waits
                await _step("it is destroyed", self._call("DELETE", f"/machines/{machine['id']}"))
        finally:
            self._client.close()

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                await self._call("GET", "/readyz")
                return
            except SmokeError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        options: dict[str, Any] = {"allow_nonstandard_methods": True, "request_timeout": 180, **self._login}
        request = HTTPRequest(self._url + path, method, body=data, **options)
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:  # not even an answer
            raise SmokeError(f"{method} {path}: {error}") from error
        if response.code >= 300:
            said = (response.body or b"").decode(errors="replace")
            raise SmokeError(f"{method} {path}: {response.code} {response.reason} {said}")
        return json.loads(response.body) if response.body else None

    async def _run_command(self, machine_id: str) -> None:
        url = f"{self._url.replace('http', 'ws', 1)}/machines/{machine_id}/terminal"
        try:
            terminal = await websocket_connect(HTTPRequest(url, **self._login))
        except HTTPClientError as error:
            raise SmokeError(f"the terminal: {error}") from error
        try:
            await terminal.write_message(json.dumps({"type": "input", "data": COMMAND}))
            seen = ""
            while ANSWER not in seen:
                if (text := await terminal.read_message()) is None:
                    raise SmokeError(f"the terminal closed: {terminal.close_code} {terminal.close_reason} {seen!r}")
                message = json.loads(text)
                seen += message.get("data") or message.get("message") or ""
        finally:
            terminal.close()


async def _step(what: str, doing: Awaitable[Any]) -> Any:
    began = time.monotonic()
    answer = await asyncio.wait_for(doing, 240)
    print(f"smoke: {what}: {time.monotonic() - began:.1f} s", flush=True)
    return answer


def _name() -> str:
    return f"smoke-{secrets.token_hex(4)}"


def _login(path: str | None, user: str) -> tuple[str, str] | None:
    return (user, Path(path).read_text().strip()) if path else None


async def _started_for_this() -> None:
    """Start a server with this environment, in a deployment of its own, and run against that."""
    program = [sys.executable, str(ROOT / "server.py"), "--port", "0", "--deployment", _name()]
    # Ctrl-C is for us alone: the server is needed to destroy the machine.
    server = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, start_new_session=True)
    try:
        assert server.stdout is not None
        said = (await server.stdout.readline()).decode()
        if not (url := re.search(r"http://\S+", said)):
            raise SmokeError("aether's server did not start")
        await Smoke(url[0], None).run()
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def _interruptible(doing: Awaitable[None]) -> None:
    """Let every signal that asks for an end go through what must be done before that; more of them change nothing."""
    task = asyncio.ensure_future(doing)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    await task


def main() -> None:
    """Exit 0 when all went well, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a running server; without it one is started with this environment")
    parser.add_argument("--user", default="aether", help="to log in as, where a proxy asks (aether)")
    parser.add_argument("--password-file", help="file with the password for that")
    args = parser.parse_args()
    login = _login(args.password_file, args.user)
    try:
        asyncio.run(_interruptible(Smoke(args.url, login).run() if args.url else _started_for_this()))
    except asyncio.CancelledError:
        sys.exit("smoke: interrupted")
    except (SmokeError, TimeoutError) as error:
        sys.exit(f"smoke: failed: {error or 'took too long'}")


if __name__ == "__main__":
    main()
