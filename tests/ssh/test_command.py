"""ssh.command: commands without a terminal, run by a real OpenSSH sshd."""

import asyncio
import os

import pytest

from aether.errors import ProviderTimeout, SshError
from aether.ssh.command import MAX_OUTPUT_BYTES, Completed
from tests.screen import Screen


@pytest.fixture
def pool(start_sshd, make_pool, port):
    """A pool of connections to an OpenSSH server."""
    start_sshd(port)
    return make_pool()


@pytest.mark.gen_test
async def test_a_command_gets_its_input_and_says_how_it_ended(pool):
    """Bytes in and out as they are, both outputs apart, its exit status."""
    data = os.urandom(300_000)
    assert await pool.run("cat; echo oops >&2; exit 3", data) == Completed(3, data, b"oops\n")


@pytest.mark.gen_test
async def test_a_command_that_a_signal_ends_has_no_status(pool):
    """None is no number of an exit."""
    assert await pool.run("echo so far; kill -9 $$") == Completed(None, b"so far\n", b"")


@pytest.mark.gen_test
async def test_a_command_has_no_terminal_and_no_input_by_itself(pool):
    """A launcher must not wait for keys."""
    assert (await pool.run("cat; tty")).stdout == b"not a tty\n"


@pytest.mark.gen_test
async def test_a_command_that_does_not_end_in_time_is_left(pool, eventually):
    """Its channel is closed."""
    connection = await pool.connect()
    with pytest.raises(ProviderTimeout, match=r"did not end in 0.05 s"):
        await pool.run("sleep 1000", timeout_s=0.05)
    await eventually(connection.is_unused)


@pytest.mark.gen_test
async def test_a_command_that_says_too_much_is_ended(pool, eventually):
    """A machine is its user's: its answers must not fill the server's memory."""
    connection = await pool.connect()
    assert len((await pool.run(f"head -c {MAX_OUTPUT_BYTES} /dev/zero")).stdout) == MAX_OUTPUT_BYTES
    with pytest.raises(SshError, match="more than 1 MiB"):
        await pool.run("yes")
    await eventually(connection.is_unused)


@pytest.mark.gen_test
async def test_a_connection_that_is_lost_is_not_the_end_of_a_command(pool, eventually, tmp_path):
    """It may have done its work or not: that is an error."""
    connection = await pool.connect()
    running = asyncio.ensure_future(pool.run(f"touch {tmp_path}/begun; sleep 1000"))
    await eventually((tmp_path / "begun").exists)
    connection.abort()
    with pytest.raises(SshError, match="was lost"):
        await running


@pytest.mark.gen_test
async def test_a_command_that_is_cancelled_leaves_no_channel_whenever_it_is(pool, eventually):
    """The terminal that it was for is closed: while the channel opens, while the command runs, when it has ended."""
    connection, is_done, turns = await pool.connect(), False, 0
    while not is_done:
        running = asyncio.ensure_future(pool.run("true"))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_done, turns = running.done(), turns * 2 + 1
        running.cancel()
        await asyncio.wait([running])
        await eventually(connection.is_unused)


@pytest.mark.gen_test
async def test_a_command_goes_on_as_a_session_of_its_own(pool):
    """`open_command`: no terminal; its output and its input are the session's."""
    screen = Screen()
    channel = await pool.open_command(lambda: screen, "tty; cat", 65536)
    assert await screen.until("\n") == "not a tty"
    channel.write(b"hello\n")
    assert await screen.until("\n") == "hello"
    channel.write_eof()
    await screen.is_closed.wait()
    assert channel.get_exit_status() == 0


@pytest.mark.gen_test
async def test_more_commands_than_a_connection_may_carry_run_on_further_ones(pool):
    """They count as terminals do."""
    screens = [Screen() for _ in range(12)]
    channels = await asyncio.gather(*(pool.open_command(lambda s=screen: s, "cat", 65536) for screen in screens))
    assert len({id(channel.get_connection()) for channel in channels}) == 2
