"""shell: what is sent to a shell, in what order, and what counts as use."""

import asyncio

import pytest

from aether.messages import Input, Resize
from tests.timelapse import Timelapse


@pytest.mark.gen_test
async def test_of_a_storm_of_sizes_the_shell_gets_the_first_and_the_last(start_shell, channel):
    """Each is a signal to the program in the terminal, which draws anew."""
    lapse, pause_s = Timelapse(asyncio.get_running_loop()), 600  # which passes when the test says so, and not before
    shell = start_shell(resize_pause_s=pause_s)
    await lapse.elapse(pause_s)
    for cols in range(100, 200):
        shell.resize(Resize(cols, 30))
    await lapse.elapse(pause_s / 2)
    assert channel.done == [(100, 30)]
    await lapse.elapse(pause_s)
    assert channel.done == [(100, 30), (199, 30)]


@pytest.mark.gen_test
async def test_what_came_before_the_shell_is_given_to_it_in_order(start_shell, channel, owner):
    """The last size first, then the keys."""
    shell = start_shell(is_started=False)
    shell.resize(Resize(100, 30))
    shell.type(Input(b"a"))
    shell.resize(Resize(120, 40))
    shell.type(Input(b"b"))
    assert (channel.done, channel.written, owner.heard) == ([], b"", [])
    shell.session_started()
    assert (channel.done, channel.written, owner.heard) == ([(120, 40)], b"ab", ["started"])
    shell.close()


@pytest.mark.gen_test
async def test_a_size_is_sent_before_the_keys_that_came_after_it(start_shell, channel):
    """However many sizes came just before."""
    shell = start_shell()
    shell.resize(Resize(100, 30))
    shell.resize(Resize(101, 30))
    shell.type(Input(b"x"))
    assert channel.done == [(100, 30), (101, 30)]
    assert channel.written == b"x"
    shell.close()


@pytest.mark.gen_test
async def test_keys_wait_while_the_shell_reads_too_slowly(start_shell, channel):
    """And are counted."""
    shell = start_shell()
    shell.pause_writing()
    shell.type(Input(b"ab"))
    assert (channel.written, shell.waiting_bytes) == (b"", 2)
    shell.resume_writing()
    assert (channel.written, shell.waiting_bytes) == (b"ab", 0)


@pytest.mark.gen_test
async def test_what_a_shell_draws_for_another_size_is_no_activity(start_shell, machine):
    """A window that changes by itself would keep a machine awake, and billed."""
    lapse = Timelapse(asyncio.get_running_loop())
    shell = start_shell(redraw_s=600)
    await lapse.elapse(600)
    shell.data_received(b"a program's own", None)
    shell.resize(Resize(100, 30))
    shell.data_received(b"$ ", None)
    assert machine.activity.heard == ["output"]
    await lapse.elapse(600)
    shell.type(Input(b"x"))
    shell.data_received(b"x", None)
    assert machine.activity.heard == ["output", "input", "output"]
    shell.close()


@pytest.mark.gen_test
async def test_a_shell_that_is_closed_is_hung_up_and_its_owner_hears_no_more(start_shell, channel, owner):
    """sshd sees a close only behind input that is not read, so the signal goes first; a second close does nothing."""
    shell = start_shell()
    shell.close()
    shell.close()
    shell.connection_lost(None)
    assert channel.done == ["HUP", "abort"]
    assert owner.heard == ["started"]


@pytest.mark.gen_test
async def test_a_channel_that_comes_to_a_closed_shell_is_closed(start_shell, channel, owner):
    """The user has left meanwhile."""
    shell = start_shell(is_started=False)
    shell.close()
    channel.done.clear()
    shell.connection_made(channel)
    shell.session_started()
    assert (channel.done, owner.heard) == (["abort"], [])


@pytest.mark.gen_test
async def test_half_a_character_at_the_end_is_shown_before_the_owner_hears_of_it(start_shell, client, owner):
    """Nothing that the shell wrote is dropped in silence."""
    shell = start_shell()
    shell.data_received("日".encode()[:2], None)
    shell.exit_status_received(0)
    shell.connection_lost(None)
    assert client.text == "\ufffd"
    assert (owner.heard, shell.has_exited) == (["started", "closed"], True)
    assert shell.exit_reason == "shell exited with status 0"
