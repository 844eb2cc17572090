"""process_table: the shells that a PTY host keeps, from the lost client to the end of the machine."""

import asyncio

import pytest

LAST = 300_000  # bytes: more than terminal, sockets and channel hold together
WAIT = "echo up; while :; do sleep 0.05; done"


@pytest.fixture(params=["plain", "bwrap", "sshd"])
def runtime(request, need):
    """The built-in SSH server, alone and in namespaces, and OpenSSH's."""
    for tool in {"plain": (), "bwrap": ("bwrap",), "sshd": ("bwrap", "sshd")}[request.param]:
        need(tool)
    return request.param


@pytest.mark.gen_test
async def test_a_lost_client_hangs_up_nothing(box, keep, kept):
    """The next one finds the same shell."""
    path = await keep("echo ready; while read line; do echo $line $$; done")
    answers = []
    for _ in range(2):
        async with kept(path) as (reader, writer):
            writer.write(b"hello\n")
            await reader.readuntil(b"\nhello ")
            answers.append(await reader.readuntil(b"\r\n"))
    assert answers[0] == answers[1]


@pytest.mark.gen_test
async def test_a_stop_hangs_up_kept_shells_and_their_last_output_arrives(box, keep, kept):
    """All of it, though the client reads it late, and then the connection ends."""
    path = await keep(f"stty -onlcr; trap 'head -c {LAST} /dev/zero; echo bye; exit' HUP; {WAIT}")
    async with kept(path) as (reader, _):
        await reader.readuntil(b"up")
        reading = asyncio.ensure_future(reader.read())
        await box.stop(timeout="60s")  # a wait for `stopped` ends much earlier
        output = await reading
    assert output.endswith(b"bye\n[over]")
    assert output.count(b"\0") == LAST


@pytest.mark.gen_test
async def test_a_stop_hangs_up_shells_without_a_client(box, keep, kept):
    """They have the time that others have."""
    path = await keep(f"trap 'sleep 0.3; echo done > file; exit' HUP; {WAIT}")
    async with kept(path) as (reader, _):
        await reader.readuntil(b"up")
    await box.restart()
    assert await box.run("cat file") == "done\n"


@pytest.mark.gen_test
async def test_a_kept_shell_that_misses_the_hang_up_is_woken(box, keep, kept):
    """As bash does between its prompt and its wait for a key: it acts on the signal once another one comes."""
    path = await keep(f"trap : HUP; trap 'echo woken; exit' WINCH; {WAIT}")
    async with kept(path) as (reader, _):
        await reader.readuntil(b"up")
        reading = asyncio.ensure_future(reader.read())
        await box.stop(timeout="60s")
        assert (await reading).endswith(b"woken\r\n[over]")


@pytest.mark.gen_test
async def test_a_stop_ends_a_host_and_shells_that_do_not_care(box, keep, kept, marker, sleepers, eventually):
    """At the end of the grace period."""
    path = await keep(f"trap '' HUP; echo up; sleep {marker}")
    async with kept(path) as (reader, _):
        await reader.readuntil(b"up")
        await eventually(lambda: sleepers(marker))
        await box.stop(timeout="1s")
    assert sleepers(marker) == []
