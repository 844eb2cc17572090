"""ssh.pool: against a real OpenSSH sshd, and against what is not there yet."""

import asyncio
import socket

import asyncssh
import pytest

from aether.errors import ProviderTimeout, SshError
from aether.ssh.connection import Pty
from aether.ssh.keys import make_host_key
from aether.ssh.pool import CIPHERS, ConnectionPool
from tests.screen import Screen
from tests.ssh.conftest import USER, OpenServer

WINDOW = 128 * 1024
PTY = Pty(80, 24, WINDOW)


@pytest.mark.gen_test
async def test_a_terminal_on_a_real_openssh_server(start_sshd, make_pool, port):
    """Login with our key, a PTY of the asked size, TERM, a UTF-8 locale."""
    start_sshd(port)
    screen = Screen()
    channel = await make_pool().open_shell(lambda: screen, Pty(101, 31, WINDOW))
    channel.write(b"stty size; echo $TERM $LANG; echo done-$((1+1))\n")
    seen = await screen.until("done-2")
    assert "31 101" in seen
    assert "xterm-256color C.UTF-8" in seen
    channel.close()
    await channel.wait_closed()


@pytest.mark.gen_test
async def test_connecting_goes_on_until_the_server_is_up(start_sshd, make_pool, port):
    """A machine is `started` before its SSH server listens."""
    attempts = asyncio.Queue()
    pool = make_pool(address=lambda: (attempts.put_nowait("again"), ("127.0.0.1", port))[1])
    connecting = asyncio.ensure_future(pool.connect())
    for _ in range(3):
        await attempts.get()
    assert not connecting.done()
    start_sshd(port)
    assert not (await connecting).is_closed()


@pytest.mark.gen_test
async def test_terminals_share_one_connection_and_a_lost_one_is_made_anew(start_sshd, make_pool, port):
    """One connection a machine: key exchange and fork are paid once."""
    start_sshd(port)
    pool = make_pool()
    first = await pool.connect()
    assert await pool.connect() is first
    first.abort()
    await first.wait_closed()
    assert await pool.connect() is not first


@pytest.mark.gen_test
async def test_another_host_key_than_the_pinned_one_is_refused(start_sshd, make_pool, port):
    """No trust on first use: we made the machine's key."""
    start_sshd(port)
    with pytest.raises(SshError, match="another SSH host key"):
        await make_pool(host=make_host_key().public).connect()


@pytest.mark.gen_test
async def test_a_machine_that_does_not_know_our_key_is_told_from_one_that_is_not_up(start_sshd, make_pool, port):
    """A wrong key is no reason to retry for half a minute."""
    start_sshd(port)
    with pytest.raises(SshError, match="refuses our SSH key"):
        await make_pool(key=asyncssh.generate_private_key("ssh-ed25519")).connect()


@pytest.mark.gen_test
async def test_a_server_that_never_comes_up_is_a_timeout(make_pool):
    """Retrying is bounded."""
    with pytest.raises(ProviderTimeout, match="did not answer"):
        await make_pool(deadline_s=0.1).connect()


@pytest.mark.outside
@pytest.mark.gen_test
async def test_who_connects_to_a_machine_whose_connections_are_ended_does_not_wait_for_the_deadline(make_pool):
    """It was stopped, or destroyed."""
    pool = make_pool()
    connecting = asyncio.ensure_future(pool.connect())
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(SshError, match="were ended"):
        await connecting


@pytest.mark.gen_test
async def test_terminals_that_wait_for_a_dead_server_all_give_up_together(make_pool, clock):
    """It takes connections and says nothing: each waits until its own deadline, not for the others' attempts, too."""
    attempts, began_at = [], clock.now
    with socket.create_server(("127.0.0.1", 0)) as dead:

        def attempt():
            attempts.append(clock.now - began_at)
            asyncio.get_running_loop().call_soon(setattr, clock, "now", clock.now + 10)  # so long each takes
            return dead.getsockname()

        pool = make_pool(address=attempt, attempt_timeout_s=0.01, clock=clock)
        ends = await asyncio.gather(*(pool.open_shell(Screen, PTY) for _ in range(20)), return_exceptions=True)
    assert {type(end) for end in ends} == {ProviderTimeout}
    assert attempts == [0, 10, 20]


@pytest.mark.outside
@pytest.mark.gen_test
async def test_a_connecting_that_is_cancelled_leaves_no_connection_whenever_it_is(host_key, user_key):
    """A page that is closed meanwhile. (A server in this event loop: then its turns are few, and all can be tried.)"""
    key = asyncssh.import_private_key(host_key.private)
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=OpenServer)
    turns, is_connected = 0, False
    while not is_connected:
        pool = ConnectionPool(lambda: ("127.0.0.1", server.get_port()), USER, user_key, host_key.public)
        connecting = asyncio.create_task(pool.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        is_connected, turns = connecting.done(), turns + 1
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled() is not is_connected
        assert pool.is_connected() == is_connected
        await pool.close()
    server.close()
    await server.wait_closed()


@pytest.mark.gen_test
async def test_closing_the_pool_ends_its_terminals(start_sshd, make_pool, port):
    """A stopped machine leaves no connection behind."""
    start_sshd(port)
    pool, screen = make_pool(), Screen()
    await pool.open_shell(lambda: screen, PTY)
    await pool.close()
    await screen.is_closed.wait()


@pytest.mark.gen_test
async def test_more_terminals_than_a_connection_may_carry_are_opened_on_further_ones(start_sshd, make_pool, port):
    """OpenSSH allows ten a connection unless it is told otherwise; 24 tabs at once all get a shell."""
    start_sshd(port)
    pool, screens = make_pool(), [Screen() for _ in range(24)]
    channels = await asyncio.gather(*(pool.open_shell(lambda s=screen: s, PTY) for screen in screens))
    for channel, screen in zip(channels, screens, strict=True):
        channel.write(b"echo up-$((1+1))\n")
        await screen.until("up-2")
    assert len({id(channel.get_connection()) for channel in channels}) == 3


@pytest.mark.gen_test
async def test_room_that_a_closed_terminal_leaves_is_used_again(start_sshd, make_pool, port):
    """A tab that is opened anew does not need another connection for ever."""
    start_sshd(port)
    pool = make_pool()
    channels = [await pool.open_shell(Screen, PTY) for _ in range(11)]
    channels[0].abort()
    await channels[0].wait_closed()
    again = await pool.open_shell(Screen, PTY)
    assert again.get_connection() is channels[1].get_connection()


@pytest.mark.gen_test
async def test_a_key_goes_out_at_once(start_sshd, make_pool, port):
    """TCP_NODELAY; and no cipher is offered for which asyncssh has to protect each key (tests/ssh/test_internals)."""
    start_sshd(port)
    channel = await make_pool().open_shell(Screen, PTY)
    connected = channel.get_connection().get_extra_info("socket")
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert not any("cbc" in cipher for cipher in CIPHERS)


@pytest.mark.gen_test
async def test_terminals_whose_opening_was_given_up_leave_no_channel_behind(start_sshd, make_pool, port, eventually):
    """A page that is reloaded while it opens: ten such would use up the connection."""
    start_sshd(port)
    pool = make_pool()
    connection = await pool.connect()
    for turns in range(24):
        screen = Ending()
        opening = asyncio.create_task(pool.open_shell(lambda s=screen: s, PTY))
        for _ in range(turns):
            await asyncio.sleep(0)
        screen.end()
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            opening.result().abort()
        await eventually(connection.is_unused)
    await pool.open_shell(Screen, PTY)
    assert not connection.is_unused()


class Ending(Screen):
    """Aborts its channel when it ends or, if that comes later, when it gets it: as a session does."""

    is_over, chan = False, None

    def end(self):
        self.is_over = True
        if self.chan is not None:
            self.chan.abort()

    def connection_made(self, chan):
        self.chan = chan
        if self.is_over:
            chan.abort()


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [1, 10])
async def test_tabs_that_are_all_reloaded_at_once_all_get_a_shell(start_sshd, make_pool, port, count):
    """The server frees the old terminals' places a moment later than they are asked for."""
    start_sshd(port)
    pool = make_pool()
    channels = [await pool.open_shell(Screen, PTY) for _ in range(10)]
    for channel in channels:
        channel.abort()
    screens = [Screen() for _ in range(count)]
    again = await asyncio.gather(*(pool.open_shell(lambda s=screen: s, PTY) for screen in screens))
    assert not any(channel.is_closing() for channel in again)


@pytest.mark.gen_test
async def test_a_server_that_refuses_every_terminal_is_left_with_no_connection(
    start_sshd, make_pool, port, tmp_path, eventually
):
    """Each try would leave one more."""
    config = tmp_path / "sshd_config"
    config.write_text(config.read_text() + "PermitTTY no\n")
    start_sshd(port)
    pool = make_pool()
    for _ in range(3):
        with pytest.raises(SshError, match="refused a terminal"):
            await pool.open_shell(Screen, PTY)
    await eventually(lambda: not pool.is_connected())
