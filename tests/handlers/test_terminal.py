"""The terminal's WebSocket: real SSH, real PTY."""

import asyncio
import json

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from aether.emulator.runtimes.base import Isolation
from aether.settings import load
from tests.processes import alive, below, supervisor

PROMPT = "coder@aether:~$ "


@pytest.fixture
def at_prompt(machine, terminal):
    """`await at_prompt(machine_id)` → a terminal at its prompt; without an id, of a new machine."""

    async def open_terminal(machine_id=None):
        tty = await terminal(machine_id or (await machine())["id"])
        await tty.until(PROMPT)
        return tty

    return open_terminal


@pytest.fixture
def stop(call, until_state):
    """`await stop(machine_id)`: stop a machine and wait until it has stopped."""

    async def stop_and_wait(machine_id):
        await call("POST", f"/machines/{machine_id}/stop")
        await until_state(machine_id, "stopped")

    return stop_and_wait


@pytest.mark.gen_test
async def test_a_terminal_opened_while_the_machine_starts_waits_for_its_prompt(at_prompt):
    """No polling: connect right after POST."""
    await at_prompt()


@pytest.mark.gen_test
async def test_a_command_runs_as_coder_on_a_256_colour_terminal(at_prompt, terminal):
    """Input goes in, output comes out; TERM, user and home are right."""
    tty = await at_prompt()
    assert await tty.run('echo "$TERM $USER $HOSTNAME $((6*7))"') == "xterm-256color coder aether 42\n"


@pytest.mark.gen_test
async def test_the_first_size_comes_from_the_query_and_later_ones_from_resize(machine, terminal):
    """`stty size` follows the window."""
    tty = await terminal((await machine())["id"], "?cols=101&rows=31")
    await tty.until(PROMPT)
    assert await tty.run("stty size") == "31 101\n"
    await tty.send(type="resize", cols=77, rows=22)
    assert await tty.run("stty size") == "22 77\n"


@pytest.mark.gen_test
async def test_a_resize_and_keys_sent_before_the_shell_is_there_are_not_lost(machine, terminal):
    """What is typed while the machine starts waits for the shell."""
    tty = await terminal((await machine())["id"])
    await tty.send(type="resize", cols=99, rows=33)
    await tty.type("stty size; echo early-$((1+1))\n")
    assert "33 99" in await tty.until("early-2\r\n")


@pytest.mark.gen_test
async def test_characters_of_every_width_arrive_whole(at_prompt):
    """UTF-8 both ways, also when the shell writes it byte by byte."""
    tty = await at_prompt()
    assert await tty.run("echo 'żółw 日本 🐢'") == "żółw 日本 🐢\n"
    slow = r"""for b in e6 97 a5 f0 9f 90 a2; do printf "\x$b"; done; echo"""
    assert await tty.run(slow) == "日🐢\n"


@pytest.mark.gen_test
async def test_bytes_that_are_no_utf_8_are_shown_as_such_and_disturb_nothing_after(at_prompt):
    """Invalid bytes become U+FFFD."""
    tty = await at_prompt()
    assert await tty.run(r"printf 'a\xff\xfeb\n'") == "a\ufffd\ufffdb\n"


@pytest.mark.gen_test
async def test_an_invalid_message_is_answered_and_the_shell_lives_on(at_prompt):
    """One bad message costs nothing."""
    tty = await at_prompt()
    for bad in ("{", "[]", '{"type":"resize","cols":0,"rows":1}', b"\xff\x00"):
        await tty.connection.write_message(bad, binary=isinstance(bad, bytes))
    assert await tty.run("echo alive") == "alive\n"
    assert len(tty.errors) == 4
    assert "cols" in tty.errors[2]


@pytest.mark.gen_test
async def test_a_ping_is_answered_behind_the_keys_before_it_and_is_no_activity(machine, at_prompt, call, clock):
    """A client that hears nothing for a while can find out whether it is heard; that keeps no machine awake."""
    box = await machine()
    tty = await at_prompt(box["id"])
    path = f"/machines/{box['id']}"
    before = json.loads((await call("GET", path)).body)["last_activity_at"]
    clock.now += 60
    for number in range(8):
        await tty.send(type="ping", number=number)
    while (message := await tty.read()) != {"type": "pong", "number": 7, "waiting": 0}:  # one to all before it, too
        assert message["type"] in ("output", "pong")
    assert json.loads((await call("GET", path)).body)["last_activity_at"] == before


@pytest.mark.gen_test
async def test_a_pong_says_how_much_input_still_waits(at_prompt):
    """So that a client pastes no faster than the program in the terminal reads."""
    tty = await at_prompt()
    await tty.type("stty raw; sleep 1000\n")
    await tty.until("sleep 1000\r\n")
    for _ in range(3):
        await tty.type("x" * (1 << 20))
    await tty.send(type="ping", number=1)
    while (message := await tty.read())["type"] != "pong":
        pass
    assert 1 << 19 < message["waiting"] < 3 << 20


@pytest.mark.gen_test
async def test_exit_closes_with_1000_after_the_last_output(at_prompt):
    """A plain exit is a normal closure, with the status as reason."""
    tty = await at_prompt()
    await tty.type("seq 20000; exit 3\n")
    assert await tty.until_closed() == 1000
    assert "20000\r\n" in tty.text
    assert tty.reason == "shell exited with status 3"


@pytest.mark.gen_test
async def test_a_stop_tells_the_terminal_who_did_it_and_closes_4410(machine, at_prompt, call):
    """The terminal never just goes dead."""
    box = await machine()
    tty = await at_prompt(box["id"])
    await call("POST", f"/machines/{box['id']}/stop")
    assert await tty.until_closed() == 4410
    assert tty.errors == ["Machine stopped by user."]


@pytest.mark.gen_test
async def test_files_are_there_again_after_stop_and_start(machine, at_prompt, call, stop):
    """A stop keeps the user's work."""
    box = await machine()
    tty = await at_prompt(box["id"])
    await tty.run("echo precious > work.txt")
    await stop(box["id"])
    await tty.until_closed()
    await call("POST", f"/machines/{box['id']}/start")
    again = await at_prompt(box["id"])
    assert await again.run("cat work.txt") == "precious\n"


@pytest.mark.gen_test
async def test_a_delete_closes_the_terminal_with_4404(machine, at_prompt, call):
    """Terminals close before the machine goes."""
    box = await machine()
    tty = await at_prompt(box["id"])
    assert (await call("DELETE", f"/machines/{box['id']}")).code == 204
    assert await tty.until_closed() == 4404


@pytest.mark.gen_test
async def test_a_delete_ends_everything_the_machine_started(machine, at_prompt, call):
    """`setsid`, `nohup` and double-forked children too."""
    box = await machine()
    tty = await at_prompt(box["id"])
    await tty.run("setsid sleep 1000 & nohup sleep 1001 >/dev/null 2>&1 & (setsid sleep 1002 &)")
    inside = below()
    assert len(inside) >= 5  # the supervisor, its shell, and three more
    assert (await call("DELETE", f"/machines/{box['id']}")).code == 204
    assert not alive(inside)


@pytest.mark.gen_test
async def test_a_machine_that_dies_under_its_terminals_tells_them_all(aether, machine, at_prompt):
    """`kill -9 -1` ends all there is in the machine; its terminals hear what became of it, and nothing hangs."""
    box = await machine()
    one, two = await asyncio.gather(at_prompt(box["id"]), at_prompt(box["id"]))
    victim = supervisor().pid if aether.emulator.isolation is Isolation.NONE else -1
    await one.type(f"kill -9 {victim}\n")
    assert {await one.until_closed(), await two.until_closed()} <= {1000, 4410, 4502}
    await aether.housekeeping.sweep()


@pytest.mark.gen_test
async def test_a_frozen_machine_holds_up_neither_its_deletion_nor_its_terminals(machine, at_prompt, call):
    """Its SSH server answers nothing any more; it goes all the same."""
    box = await machine()
    tty = await at_prompt(box["id"])
    process = supervisor()
    process.suspend()
    assert (await call("DELETE", f"/machines/{box['id']}")).code == 204
    assert await tty.until_closed() == 4404


@pytest.mark.gen_test
async def test_a_machine_cannot_read_the_key_that_opens_all_machines(at_prompt, aether, settings):
    """Under bubblewrap the state folder is hidden."""
    tty = await at_prompt()
    if aether.emulator.isolation is Isolation.NONE:
        pytest.skip("bubblewrap does not work here")
    key = settings.state_dir / "ssh_key"
    assert key.exists()
    assert await tty.run(f"cat {key} 2>/dev/null || echo hidden") == "hidden\n"


@pytest.mark.gen_test
async def test_the_server_s_own_environment_is_out_of_a_machine_s_reach(at_prompt, monkeypatch):
    """Whatever the secret is called."""
    monkeypatch.setenv("GITHUB_TOKEN", "hunter2")
    tty = await at_prompt()
    assert await tty.run("cat /proc/$PPID/environ | tr '\\0' '\\n' | grep -c hunter2") == "0\n"


@pytest.mark.gen_test
async def test_a_user_cannot_lock_the_terminal_out_of_a_machine(machine, at_prompt, call, stop):
    """`chmod 000 ~/.ssh/authorized_keys` is the user's own business."""
    box = await machine()
    tty = await at_prompt(box["id"])
    await tty.run("mkdir -p .ssh/authorized_keys; echo nonsense > .ssh/x")
    again = await at_prompt(box["id"])
    await again.run("rm -r .ssh/authorized_keys; echo nonsense > .ssh/authorized_keys; chmod 000 .ssh/authorized_keys")
    await stop(box["id"])
    await call("POST", f"/machines/{box['id']}/start")
    await at_prompt(box["id"])


@pytest.mark.gen_test
async def test_a_terminal_on_nothing_closes_4404(terminal):
    """The browser cannot see an HTTP status, so the refusal is a close code."""
    tty = await terminal("nobody")
    assert await tty.until_closed() == 4404
    assert "nobody" in tty.errors[0]


@pytest.mark.gen_test
async def test_a_terminal_on_a_stopped_machine_closes_4409_and_says_how_to_start_it(machine, terminal, stop):
    """A stale tab never starts a machine by itself."""
    box = await machine()
    await stop(box["id"])
    tty = await terminal(box["id"])
    assert await tty.until_closed() == 4409
    assert f"POST /machines/{box['id']}/start" in tty.errors[0]


@pytest.mark.gen_test
async def test_a_client_that_lost_its_shell_is_told_that_this_one_is_new(machine, terminal):
    """`?reconnect=1` is answered with the PRD's message, once, before any output."""
    tty = await terminal((await machine())["id"], "?reconnect=1")
    await tty.until(PROMPT)
    assert tty.messages[0] == {"type": "reconnected", "message": "Connection lost. Reconnected — new session."}
    assert [message["type"] for message in tty.messages[1:]].count("reconnected") == 0


@pytest.mark.gen_test
async def test_terminals_of_one_machine_are_shells_of_their_own(machine, at_prompt):
    """Two tabs, two shells, one machine's files."""
    box = await machine()
    one, two = await asyncio.gather(at_prompt(box["id"]), at_prompt(box["id"]))
    await one.run("X=1; echo shared > f")
    assert await two.run('echo "[$X]" $(cat f)') == "[] shared\n"


@pytest.mark.gen_test
async def test_closing_the_tab_hangs_up_the_shell(machine, at_prompt):
    """A shell whose client is gone gets SIGHUP, and does not stay for ever."""
    box = await machine()
    one, two = await asyncio.gather(at_prompt(box["id"]), at_prompt(box["id"]))
    pid = (await one.run("echo $$")).strip()
    one.connection.close()
    assert await two.run(f"while kill -0 {pid} 2>/dev/null; do sleep 0.02; done; echo gone") == "gone\n"


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["?cols=1", "?rows=x", "?shell=zsh", "?cols=" + "9" * 5000])
async def test_a_bad_query_is_refused_before_the_upgrade(machine, base_url, query):
    """400 in the one error shape."""
    box = await machine()
    with pytest.raises(HTTPClientError) as caught:
        await websocket_connect(f"{base_url.replace('http', 'ws')}/machines/{box['id']}/terminal{query}")
    assert caught.value.code == 400
    assert json.loads(caught.value.response.body)["error"]["code"] == "invalid_message"


@pytest.mark.gen_test
async def test_a_long_paste_arrives_whole(at_prompt):
    """A mebibyte in one message, multi-byte characters and all."""
    tty = await at_prompt()
    await tty.type("stty raw -echo; head -c 1048576 | sha256sum; stty sane\n")
    await tty.until("sane\r\n")
    text = "héllo wörld 日本\n" * 55000
    data = text.encode()[: 1 << 20].decode(errors="ignore")
    data += "x" * ((1 << 20) - len(data.encode()))
    await tty.type(data)
    import hashlib

    await tty.until(hashlib.sha256(data.encode()).hexdigest())


@pytest.mark.parametrize("compression", ["off", "on"])
class TestCompression:
    """For thin lines; off unless it is set, as it costs the server time for every key."""

    @pytest.fixture
    def settings(self, server_environ, compression):
        return load(["--compression", compression], server_environ)

    @pytest.mark.gen_test
    async def test_messages_are_compressed_where_both_sides_want_that(self, machine, base_url, compression):
        """RFC 7692; what they say stays the same."""
        url = f"{base_url.replace('http', 'ws', 1)}/machines/{(await machine())['id']}/terminal"
        connection = await websocket_connect(url, compression_options={})
        is_compressed = "permessage-deflate" in connection.headers.get("Sec-WebSocket-Extensions", "")
        assert is_compressed == (compression == "on")
        await connection.write_message(json.dumps({"type": "input", "data": "seq 1 2000; echo done-$((1+1))\n"}))
        text = ""
        while "done-2" not in text:
            text += json.loads(await connection.read_message())["data"]
        assert "\r\n".join(str(n) for n in range(1, 2001)) in text
        connection.close()
        while await connection.read_message() is not None:
            pass
