"""infra/: what stands around a server of one's own, checked by its own tools, and the proxies before a real server."""

import asyncio
import base64
import datetime
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from packaging.requirements import Requirement
from playwright.async_api import async_playwright, expect
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.netutil import DefaultLoopResolver, OverrideResolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import websocket_connect

import server as program
from aether.app import PTY_HOST, Timing
from aether.host_file import PtyHostFile
from aether.settings import load

ROOT = Path(__file__).parent.parent
INFRA = ROOT / "infra"
NAME = "aether.example.com"
PASSWORD = "correct horse battery staple"
BCRYPT = "$2b$04$70RxomZFriDgL31xzDLqPeg6jUjvZ4yTmofocyy0vkLMdtkW6nOBS"  # of that password, with the least work
PROMPT = "coder@aether:~$ "
LONGEST_INPUT = 1 << 20


def changed(text, changes):
    """Return a configuration fitted to this test; what is to be changed must be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the configuration"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A folder with a certificate as certbot lays it out."""
    folder = tmp_path_factory.mktemp("certificate")
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(today).not_valid_after(today + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "fullchain.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "privkey.pem").write_bytes(key.private_bytes(pem, *plain))
    return folder


@pytest.fixture
def listening(ports):
    """A bound socket and its port; where a proxy must bind that itself, no other program gets it meanwhile."""
    with socket.create_server(("127.0.0.1", next(ports))) as bound:
        yield bound, bound.getsockname()[1]


@pytest.fixture
def origin(listening):
    """What a browser shows."""
    return f"https://{NAME}:{listening[1]}"


class Nginx:
    """The example for nginx, with places of this test's."""

    def __init__(self, folder, certificate, port, upstream, read_timeout):
        (folder / "htpasswd").write_text(f"me:{{PLAIN}}{PASSWORD}\n")
        timeout = {"proxy_read_timeout 75s": f"proxy_read_timeout {read_timeout}"} if read_timeout else {}
        (folder / "proxy.conf").write_text(changed((INFRA / "nginx/proxy.conf").read_text(), timeout))
        site = {
            "listen 80;": "listen unix:%s;" % (folder / "plain"),
            "    listen [::]:80;\n": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "    listen [::]:443 ssl;\n": "",
            "127.0.0.1:8080": f"127.0.0.1:{upstream}",
            "/etc/nginx/aether-proxy.conf": str(folder / "proxy.conf"),
            "/etc/nginx/aether.htpasswd": str(folder / "htpasswd"),
            f"/etc/letsencrypt/live/{NAME}": str(certificate),
        }
        (folder / "aether.conf").write_text(changed((INFRA / "nginx/aether.conf").read_text(), site))
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        http = f"access_log off; {temporary} include aether.conf;"
        (folder / "nginx.conf").write_text(f"pid {folder}/pid; error_log stderr warn; events {{}} http {{ {http} }}")
        user = "user root; " if os.geteuid() == 0 else ""  # the test's folder is root's
        self.arguments = ["-e", "stderr", "-c", folder / "nginx.conf", "-g", f"{user}daemon off;"]
        self.environment = {}

    def take(self, bound):
        """Let nginx inherit the socket, as from a nginx before it."""
        self.environment["NGINX"] = f"{bound.fileno()};"
        return (bound.fileno(),)

    def await_ready(self):
        """Nothing to wait for: a client that connects to the socket early is served once nginx runs."""


class Caddy:
    """The example for Caddy, likewise."""

    def __init__(self, folder, certificate, port, upstream, read_timeout):
        site = {  # without its own redirects from port 80: that is root's, or nginx's
            f"{NAME} {{": "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
            f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n"
            f"\ttls {certificate}/fullchain.pem {certificate}/privkey.pem",
            "127.0.0.1:8080": f"127.0.0.1:{upstream}",
        }
        (folder / "Caddyfile").write_text(changed((INFRA / "caddy/Caddyfile").read_text(), site))
        self.arguments = ["run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]
        self.environment = {"AETHER_LOGIN_HASH": BCRYPT, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    def take(self, bound):
        """Caddy inherits no sockets: free the port for it."""
        bound.close()
        self._pinged = socket.create_server(("127.0.0.1", 0))
        self._pinged.settimeout(30)
        self.arguments += ["--pingback", f"127.0.0.1:{self._pinged.getsockname()[1]}"]
        return ()

    def await_ready(self):
        """Wait until Caddy connects, which it does once it listens itself."""
        with self._pinged:
            self._pinged.accept()[0].close()


class Front:
    """A proxy before the server, as a browser sees it: by its name, and with its certificate."""

    def __init__(self, origin, certificate):
        self.origin, self._certificate = origin, str(certificate / "fullchain.pem")
        self._terminals = []
        self._resolver = OverrideResolver(DefaultLoopResolver(), {NAME: "127.0.0.1"})
        self.client = SimpleAsyncHTTPClient(force_instance=True, hostname_mapping={NAME: "127.0.0.1"})

    def request(self, path, password=PASSWORD, origin=None):
        headers = {"Origin": origin or self.origin}
        if password:
            headers["Authorization"] = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
        return HTTPRequest(self.origin + path, headers=headers, ca_certs=self._certificate)

    async def get(self, path, **options):
        return await self.client.fetch(self.request(path, **options), raise_error=False)

    async def terminal(self, machine_id, **options):
        request = self.request(f"/machines/{machine_id}/terminal", **options)
        request.url = request.url.replace("https", "wss", 1)
        self._terminals.append(await websocket_connect(request, resolver=self._resolver))
        self._terminals[-1].is_over = False
        return self._terminals[-1]

    async def close(self):
        for connection in self._terminals:
            connection.close()
            while await read(connection) is not None:
                pass
        self.client.close()


async def read(connection):
    """Read a message, None at the end and ever after it."""
    text = None if connection.is_over else await connection.read_message()
    connection.is_over = text is None
    return text


async def until(connection, sentinel):
    """Read output until `sentinel` has come; None when the terminal closes before."""
    seen = ""
    while sentinel not in seen:
        if (text := await read(connection)) is None:
            return None
        seen += json.loads(text).get("data", "")
    return seen


async def type_line(connection, text):
    await connection.write_message(json.dumps({"type": "input", "data": text + "\n"}))


@pytest.fixture
def ping_s():
    """How often the server pings, where a test says so."""


@pytest.fixture
def timing(ping_s):
    return Timing(websocket_ping_s=ping_s) if ping_s else Timing()


@pytest.fixture
def settings(server_environ, origin):
    """A server that knows what the browser sees."""
    return load([], {**server_environ, "AETHER_ALLOWED_ORIGINS": origin})


@pytest.fixture
def start(io_loop, need, tmp_path, certificate, listening, origin, http_server, http_port):
    """`start("nginx")` → a real proxy before the real server."""
    front, started = Front(origin, certificate), []

    def run(kind, read_timeout=None):
        path, (bound, port) = need(kind), listening
        proxy = {"nginx": Nginx, "caddy": Caddy}[kind](tmp_path, certificate, port, http_port, read_timeout)
        inherited, environment = proxy.take(bound), {"PATH": os.environ["PATH"], **proxy.environment}
        with (tmp_path / "log").open("w") as log:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            started.append(subprocess.Popen([path, *proxy.arguments], env=environment, pass_fds=inherited, **pipes))
        proxy.await_ready()
        return front

    yield run
    io_loop.run_sync(front.close)
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(params=["nginx", "caddy"])
def front(request, start):
    return start(request.param)


@pytest.mark.gen_test
async def test_without_the_password_there_is_nothing(front):
    """Neither pages nor calls nor terminals: aether itself has no log-in."""
    for password in (None, "guessed"):
        for path in ("/", "/terminal.html", "/machines", "/readyz"):
            assert (await front.get(path, password=password)).code == 401
        with pytest.raises(HTTPClientError, match="401"):
            await front.terminal("some", password=password)


@pytest.mark.gen_test
async def test_the_password_lets_in_and_ends_at_the_proxy(front, app):
    """The page comes; aether never sees the password."""
    seen = []
    app.settings["log_function"] = lambda handler: seen.append(handler.request.headers)
    page = await front.get("/terminal.html")
    assert page.code == 200
    assert b"xterm" in page.body
    assert "Authorization" not in seen[0]


@pytest.mark.gen_test
async def test_a_terminal_lives_behind_the_proxy(front, machine):
    """Keys go in, output comes out, and the longest message there is passes."""
    connection = await front.terminal((await machine())["id"])
    await until(connection, PROMPT)
    await type_line(connection, "stty raw -echo; echo rea''dy; head -c 1048576 | wc -c; stty sane")
    await until(connection, "ready")
    await connection.write_message(json.dumps({"type": "input", "data": "x" * LONGEST_INPUT}))
    assert str(LONGEST_INPUT) in await until(connection, PROMPT)
    connection.close()
    assert await until(connection, "more") is None


@pytest.mark.gen_test
async def test_a_browser_that_is_logged_in_gets_its_terminal(start, need, machine):
    """It sends the password with the WebSocket, too; the page cannot do that for it."""
    if not (ROOT / "static/node_modules").is_dir():
        pytest.skip("xterm.js is missing; scripts/test installs it")
    front, machine_id = start("nginx"), (await machine())["id"]
    flags = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    login = {"username": "me", "password": PASSWORD}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=need("chromium"), args=flags)
        page = await browser.new_page(ignore_https_errors=True, http_credentials=login)
        await page.goto(f"{front.origin}/terminal.html?machine={machine_id}")
        await expect(page.locator("#status-word")).to_have_text("Connected", timeout=20_000)
        await browser.close()


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_another_site_is_refused_behind_the_proxy_too(front, machine):
    """The browser sends the password along, so the Origin must be looked at."""
    machine_id = (await machine())["id"]
    with pytest.raises(HTTPClientError, match="403"):
        await front.terminal(machine_id, origin="https://evil.example.com")
    assert (await front.get("/machines", origin="https://evil.example.com")).code == 403


@pytest.mark.gen_test
@pytest.mark.parametrize("ping_s", [0.2])
async def test_pings_keep_a_silent_terminal_alive_in_nginx(start, machine, ping_s):
    """For longer than nginx's read timeout, here two seconds."""
    connection = await start("nginx", read_timeout="2s").terminal((await machine())["id"])
    await until(connection, PROMPT)
    pings = asyncio.Queue()
    connection.on_ping = pings.put_nowait
    for _ in range(int(2.5 / ping_s)):
        await pings.get()
    await type_line(connection, "echo awa''ke")
    assert await until(connection, "awake") is not None


@pytest.mark.gen_test
@pytest.mark.parametrize("ping_s", [3600])
async def test_without_pings_nginx_cuts_a_silent_terminal(start, machine, ping_s):
    """Which is what they are for. (A second: a shell takes some of that to open on a busy computer.)"""
    connection = await start("nginx", read_timeout="1s").terminal((await machine())["id"])
    assert await until(connection, "nothing is typed") is None


def test_nginx_waits_longer_than_two_pings():
    """One may be late."""
    timeout = re.search(r"proxy_read_timeout (\d+)s;", (INFRA / "nginx/proxy.conf").read_text())[1]
    assert int(timeout) > 2 * Timing().websocket_ping_s


@pytest.mark.gen_test
async def test_plain_http_leads_to_tls(start, tmp_path, eventually):
    """A password does not travel in the clear."""
    start("nginx")
    await eventually((tmp_path / "plain").exists)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "plain")
    writer.write(f"GET /machines HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert "301 Moved Permanently" in answer
    assert f"Location: https://{NAME}/machines\r\n" in answer


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_examples_pass_the_checks_of_their_own_tools(need, tmp_path, certificate, kind):
    """As an administrator would check them before a reload."""
    proxy = {"nginx": Nginx, "caddy": Caddy}[kind](tmp_path, certificate, 8443, 8080, None)
    arguments = ["-t", *proxy.arguments] if kind == "nginx" else ["validate", *proxy.arguments[1:]]
    environment = {"PATH": os.environ["PATH"], **proxy.environment}
    done = subprocess.run([need(kind), *arguments], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@pytest.fixture
def systemd_analyze():
    """systemd's own checker; where there is no systemd, the unit is not installed."""
    return shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed")


@pytest.mark.outside
def test_the_unit_is_one_that_systemd_understands(systemd_analyze, tmp_path):
    """No unknown setting, nothing that contradicts."""
    unit = tmp_path / "aether.service"
    unit.write_text(
        changed((INFRA / "systemd/aether.service").read_text(), {"/opt/aether/.venv/bin/python": sys.executable})
    )
    done = subprocess.run([systemd_analyze, "verify", unit], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.outside
def test_the_unit_is_hardened(systemd_analyze):
    """systemd's own mark, from 0 (safe) to 10; most services have 9.6."""
    command = [systemd_analyze, "security", "--offline=true", "--threshold=15", INFRA / "systemd/aether.service"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_whoever_stops_the_server_waits_long_enough():
    """It takes some seconds to tell the terminals."""
    unit = (INFRA / "systemd/aether.service").read_text()
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > program.STOP_TIMEOUT_S
    fly = tomllib.loads((INFRA / "fly.toml").read_text())
    assert fly["kill_timeout"] > program.STOP_TIMEOUT_S
    assert fly["kill_signal"] == "SIGTERM"


def test_nothing_of_the_server_on_fly_is_public():
    """A service would put it on the internet, and let Fly's proxy send it to sleep."""
    fly = tomllib.loads((INFRA / "fly.toml").read_text())
    assert not {"services", "http_service", "statics"} & set(fly)
    assert fly["restart"] == [{"policy": "always"}]


def test_fly_checks_the_port_and_the_path_that_need_no_password():
    """nginx in the image listens there, for Fly's IPv4 and for the private network's IPv6."""
    check = tomllib.loads((INFRA / "fly.toml").read_text())["checks"]["ready"]
    nginx = (INFRA / "server/nginx.conf").read_text()
    assert f"listen [::]:{check['port']} ipv6only=off;" in nginx
    assert f"location = {check['path']} {{" in nginx


def test_the_images_packages_are_pinned_and_what_aether_needs():
    """Each with its sum, within pyproject's bounds."""
    lines = (INFRA / "server/requirements.txt").read_text().splitlines()
    pinned = dict(line.removesuffix(" \\").split("==") for line in lines if "==" in line)
    hashed = sum(line.startswith("    --hash=sha256:") for line in lines)
    assert hashed >= len(pinned)
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), text


CONTEXTS = {"server": ROOT, "images/base": INFRA / "images/base"}


@pytest.mark.parametrize("image", CONTEXTS)
def test_what_the_images_copy_can_be_read_by_their_users(image):
    """A checkout under a strict umask has files for its owner only; a folder is copied with the right to enter it."""
    text = (INFRA / image / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)((?:--\S+ )*)(.+) \S+$", text, re.MULTILINE)
    assert copied
    for options, sources in copied:
        for source in sources.split():
            is_entered_or_run = os.access(CONTEXTS[image] / source, os.X_OK)
            assert f"--chmod={'755' if is_entered_or_run else '644'}" in options, source


@pytest.mark.outside
def test_the_machines_image_has_the_pty_host_by_the_name_that_aether_gives_it(tmp_path):
    """So that a machine that comes from it needs no other."""
    text = (INFRA / "images/base/Dockerfile").read_text()
    assert "COPY --chmod=644 pty_host.py /usr/local/lib/pty_host.py\n" in text
    script = re.search(r"^RUN (set -eu; \\\n    sum=(?:.*\\\n)+.*)$", text, re.MULTILINE)[1]
    (tmp_path / "lib").mkdir()
    shutil.copy(PTY_HOST, tmp_path / "lib/pty_host.py")
    subprocess.run(["sh", "-c", script.replace("/usr/local", str(tmp_path))], check=True)
    [made] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert made == tmp_path / PtyHostFile(PTY_HOST.read_bytes()).path.removeprefix("/usr/local/")
    assert (made.read_text(), oct(made.stat().st_mode)) == (PTY_HOST.read_text(), "0o100644")


@pytest.mark.parametrize("image", CONTEXTS)
def test_the_images_say_what_they_are(image):
    """In OCI's labels; the machines' also of which content and commit, as scripts/build-image.sh tells its build."""
    labels = re.findall(r'org\.opencontainers\.image\.(\w+)="(.*)"', (INFRA / image / "Dockerfile").read_text())
    assert {"title", "description", "licenses"} <= {name for name, value in labels if value}
    if image == "images/base":
        assert {("version", "$VERSION"), ("revision", "$REVISION")} <= set(labels)


def server_dockerfile():
    """Return the instructions of the server's image, last stage, by their names; the last one of each."""
    text = (INFRA / "server/Dockerfile").read_text().replace("\\\n", "").rpartition("\nFROM ")[2]
    return dict(line.split(" ", 1) for line in text.splitlines() if line[:1].isupper())


def test_the_servers_image_runs_as_a_user_of_its_own_and_is_told_to_end_gently():
    """An intruder in the server is not root there."""
    last = server_dockerfile()
    assert last["USER"] == "10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["CMD"] == '["infra/server/start"]'


@pytest.mark.parametrize(
    ("dockerfile", "ignore", "context"),
    [
        ("server/Dockerfile", "server/Dockerfile.dockerignore", ROOT),
        ("images/base/Dockerfile", "images/base/.dockerignore", INFRA / "images/base"),
    ],
)
def test_what_the_images_copy_is_there_and_not_ignored(dockerfile, ignore, context):
    """A build would fail at the end of a deployment; whatever else lies there, such as a key, stays out of it."""
    everything, *allowed = [line.removeprefix("!") for line in (INFRA / ignore).read_text().splitlines()]
    assert everything == "*"
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (INFRA / dockerfile).read_text(), re.MULTILINE)
    for source in (source for sources in copied for source in sources.split()):
        assert (context / source).exists(), source
        assert any(source == path or source.startswith(path + "/") for path in allowed), source


@pytest.fixture
def in_image(need, tmp_path):
    """Run a script where the user, /tmp, /etc/nginx and the network are as in the server's image."""

    def run(script, **environ):
        own = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
        for place in (ROOT, Path(sys.prefix)):
            own += ["--ro-bind", place, place] if place.is_relative_to("/tmp") else []
        own += ["--bind", tmp_path, tmp_path, "--ro-bind", tmp_path / "passwd", "/etc/passwd"]
        own += ["--tmpfs", "/etc/nginx", "--ro-bind", INFRA / "nginx/proxy.conf", "/etc/nginx/aether-proxy.conf"]
        own += ["--unshare-user", "--uid", "10001", "--gid", "10001", "--unshare-net", "--unshare-pid"]
        own += ["--die-with-parent", "--chdir", ROOT]
        path = f"{tmp_path}:{Path(need('nginx')).parent}:/usr/bin:/bin"
        command = [need("bwrap"), *own, "bash", "-c", script]
        return subprocess.run(
            command,
            check=False,
            env={"PATH": path, "HOME": str(tmp_path), **environ},
            capture_output=True,
            text=True,
        )

    (tmp_path / "passwd").write_text(f"aether:x:10001:10001::{tmp_path}:/bin/sh\n")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    return run


SECRETS = {
    "AETHER_LOGIN": f"aether:{{PLAIN}}{PASSWORD}",
    "AETHER_FLY_API_TOKEN": "FlyV1 fm2_secret",
    "AETHER_FLY_APP_NAME": "my-machines",
}


def test_the_image_serves_behind_its_log_in_and_stops_in_order(in_image, tmp_path):
    """Its start script, with a Fly that is emulated: ready for all, the rest with the password; SIGTERM ends both."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "ask").write_text(
        "import http.client, sys, urllib.parse\n"
        "for url in map(urllib.parse.urlsplit, sys.argv[1:]):\n"
        "    asked = http.client.HTTPConnection(url.hostname, url.port)\n"
        "    asked.request('GET', url.path)\n"
        "    print(asked.getresponse().status)\n"
    )
    health_check = shlex.join(json.loads(server_dockerfile()["HEALTHCHECK"].partition(" CMD ")[2]))
    done = in_image(
        f"""
        python -m aether.emulator --token fm2_secret --state-dir {tmp_path}/emulator --runtime plain >/dev/null &
        infra/server/start & start=$!
        python scripts/smoke.py --url http://127.0.0.1:8080 --password-file {tmp_path}/password
        python {tmp_path}/ask http://127.0.0.1:8080/readyz http://[::1]:8080/readyz http://127.0.0.1:8080/machines
        {health_check} && echo healthy
        tr '\\0' '\\n' </proc/$(pgrep -f '[s]erver.py --address')/environ | grep -c '^AETHER_LOGIN'
        kill -TERM $start; wait $start; echo "ended with $?"; pgrep -c nginx
        """,
        **SECRETS,
        AETHER_SSH_PRIVATE_KEY=key,
        AETHER_SSH_HOST="127.0.0.1",
        FLY_APP_NAME="my-server",
        FLY_FLAPS_BASE_URL="http://127.0.0.1:4280",
    )
    assert "its terminal runs a command" in done.stdout, done.stderr
    assert "machines are in the Fly app my-machines" in done.stdout
    assert done.stdout.endswith("\n200\n200\n401\nhealthy\n0\nended with 0\n0\n"), done.stdout


def test_the_image_says_what_it_was_not_given(in_image):
    """Instead of a server that lets everybody in."""
    done = in_image("infra/server/start", **{**SECRETS, "AETHER_LOGIN": ""})
    assert done.returncode == 2
    assert "AETHER_LOGIN is not set" in done.stderr
