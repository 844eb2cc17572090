"""A Fly that says what a test wants, and the real emulator."""

import asyncio

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from aether.emulator.server import Emulator
from aether.fly.client import FlyClient
from tests.fly_client import InterceptedFlyClient


class Script(RequestHandler):
    """Answers each request with the next of the scripted (status, body, headers); `None` drops the connection."""

    def initialize(self, answers, seen):
        self.answers, self.seen = answers, seen

    async def answer(self):
        self.seen.append((self.request.method, self.request.uri, self.request.headers, self.request.body))
        scripted = self.answers.pop(0)
        if scripted is None:
            self.request.connection.stream.close()
            return
        status, body, *headers = scripted
        self.set_status(status)
        for name, value in headers:
            self.set_header(name, value)
        self.finish(body)

    get = post = delete = answer


class ScriptedFly:
    """Errors that the emulator does not make: bursts of 5xx, dropped connections, garbage."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.answers, self.seen, self.pauses = [], [], []

    async def pause(self, seconds):
        """Stand in for asyncio.sleep: note the pause, and make none."""
        self.pauses.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def fly(io_loop):
    sockets = bind_sockets(0, "127.0.0.1")
    scripted = ScriptedFly(sockets[0].getsockname()[1])
    server = HTTPServer(Application([(".*", Script, {"answers": scripted.answers, "seen": scripted.seen})]))

    async def listen():
        server.add_sockets(sockets)

    io_loop.run_sync(listen)
    yield scripted
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def scripted_client(io_loop, fly):
    client = InterceptedFlyClient(fly.url, "my app", "T", fly.pause)
    yield client
    io_loop.run_sync(client.close)


@pytest.fixture
def emulator(io_loop, tmp_path):
    emulator = Emulator(state_dir=tmp_path, token="T")
    io_loop.run_sync(emulator.start)
    yield emulator
    io_loop.run_sync(emulator.stop)


@pytest.fixture
def client(io_loop, emulator):
    client = FlyClient(emulator.url, "app", "T")
    yield client
    io_loop.run_sync(client.close)
