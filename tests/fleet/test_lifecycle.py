"""lifecycle: one machine, driven to where it was last sent."""

import asyncio
import json

import asyncssh
import pytest

from aether.errors import MachineNotFound, MachineNotRunning, ProviderError, ShuttingDown
from aether.fleet.lifecycle import MachineLifecycle
from aether.fly.answers import FlyMachine
from aether.machines import Machine, MachineSize, MachineState
from aether.messages import Resize, TerminalQuery
from aether.ssh.keys import make_host_key
from aether.ssh.pool import ConnectionPool

QUERY = TerminalQuery(Resize(80, 24), is_reconnect=False)


class Provider:
    """Operations that end when the test says so. (The emulator cannot be held in the middle of a step.)"""

    def __init__(self):
        self.begun = asyncio.Event()
        self.steps, self.gates, self.failing, self.fly = [], {}, {}, FlyMachine("148e", "box", "started", *[""] * 4)

    def gate(self, step):
        return self.gates.setdefault(step, asyncio.Event())

    async def do(self, step):
        self.steps.append(step)
        self.begun.set()
        await self.gate(step).wait()
        if step in self.failing:
            raise self.failing[step]

    async def start(self, fly_id, is_launching):
        await self.do("launch" if is_launching else "start")
        return self.fly

    async def request_stop(self, fly_id):
        await self.do("stop")

    async def wait_stopped(self, fly_id, instance_id):
        pass

    async def destroy(self, fly_id):
        await self.do("destroy")

    async def get(self, fly_id):
        return self.fly

    get_confirmed = try_get = get

    async def get_halted(self, fly_id):
        return None

    async def set_metadata(self, fly_id, key, value):
        pass


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def box(io_loop, provider, clock):
    key = make_host_key().public
    machine = Machine("id", "box", "sjc", "image", MachineSize("shared", 1, 512), 0, 0, 0, 20000, key)
    machine.fly_machine_id = "148e"
    pool = ConnectionPool(lambda: ("127.0.0.1", 9), "coder", asyncssh.generate_private_key("ssh-ed25519"), key)
    lifecycle = MachineLifecycle(machine, provider, pool, clock)
    yield lifecycle
    io_loop.run_sync(lambda: lifecycle.close(ShuttingDown("bye")))


async def until(box, state):
    while box.machine.state != state:
        await box.status.changed()


@pytest.mark.gen_test
async def test_a_stop_asked_for_while_starting_is_done_after_the_start(box, provider):
    """Steps do not overlap, and the last word counts."""
    box.settle()
    await until(box, "starting")
    box.stop("by user")
    provider.gate("stop").set()
    provider.gate("launch").set()
    await until(box, "stopped")
    assert provider.steps == ["launch", "stop"]


@pytest.mark.gen_test
async def test_a_change_of_mind_during_a_step_costs_nothing(box, provider):
    """stop, then start again, while still starting: just running."""
    box.settle()
    await until(box, "starting")
    box.stop("by user")
    box.start()
    provider.gate("launch").set()
    await until(box, "running")
    await asyncio.sleep(0)
    assert provider.steps == ["launch"]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_failed_start_is_an_error_that_can_be_started_again(box, provider):
    """`error` with the reason, then `running` without."""
    provider.gate("launch").set()
    provider.gate("start").set()
    provider.failing["launch"] = ProviderError("no capacity")
    box.settle()
    await until(box, "error")
    assert box.machine.error == {"code": "provider_error", "message": "no capacity"}
    box.start()
    assert box.machine.state == "starting"
    await until(box, "running")
    assert (provider.steps, box.machine.error) == (["launch", "start"], None)


async def stop_in_vain(box, provider):
    """Have a running machine whose provider has just refused to stop it."""
    for step in ("launch", "stop"):
        provider.gate(step).set()
    box.settle()
    await until(box, "running")
    provider.failing["stop"] = ProviderError("try later")
    box.stop("by user")
    await until(box, "running")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_that_could_not_be_stopped_is_still_running_and_says_so(box, provider):
    """Or the idle sweep would forget a machine that bills."""
    await stop_in_vain(box, provider)
    assert box.machine.error["message"] == "try later"
    del provider.failing["stop"]
    box.stop("by user")
    await until(box, "stopped")
    assert box.machine.error is None


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_start_after_a_stop_that_failed_is_no_error(box, provider):
    """The machine runs already: nothing is left to do."""
    await stop_in_vain(box, provider)
    box.start()
    assert (box.machine.state, box.machine.error) == ("running", None)
    assert provider.steps == ["launch", "stop"]


@pytest.mark.gen_test
async def test_a_delete_cut_short_by_the_shutdown_says_so(box, provider):
    """Not a bare cancellation: the caller is told to come back."""
    deleting = asyncio.ensure_future(box.destroy())
    await provider.begun.wait()
    await box.close(ShuttingDown("bye"))
    with pytest.raises(ShuttingDown, match="delete the machine again"):
        await deleting


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_an_unexpected_exception_ends_in_error_not_in_silence(box, provider):
    """Its traceback is in the log, the machine can be started again."""
    provider.failing["launch"] = RuntimeError("bug")
    provider.gate("launch").set()
    box.settle()
    await until(box, "error")
    assert box.machine.error["code"] == "internal_error"


@pytest.mark.gen_test
async def test_a_delete_does_not_wait_for_a_start(box, provider):
    """Whatever the machine is doing, it goes."""
    box.settle()
    await until(box, "starting")
    provider.gate("destroy").set()
    await box.destroy()
    assert provider.steps == ["launch", "destroy"]
    with pytest.raises(MachineNotFound):
        box.start()


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_failed_delete_is_an_error_and_can_be_asked_again(box, provider):
    """Nothing is forgotten before it is gone."""
    provider.gate("destroy").set()
    provider.failing["destroy"] = ProviderError("no")
    with pytest.raises(ProviderError):
        await box.destroy()
    assert box.machine.state is MachineState.ERROR
    del provider.failing["destroy"]
    await box.destroy()
    assert provider.steps == ["destroy", "destroy"]


class Client:
    """Notes what a terminal's client is told."""

    def __init__(self):
        self.said, self.code = [], None

    def send(self, message):
        self.said.append(json.loads(message))

    def end(self, code, reason):
        self.code = code


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_terminal_waiting_for_a_machine_that_fails_is_told(box, provider):
    """4409 with the reason, as soon as it is known."""
    provider.failing["launch"] = ProviderError("no capacity")
    box.settle()
    client = Client()
    terminal = box.terminals.open(client, QUERY)
    provider.gate("launch").set()
    await terminal.wait_ended()
    assert client.code == MachineNotRunning.ws_close
    assert "no capacity" in client.said[0]["message"]
    assert not len(box.terminals)


@pytest.mark.gen_test
async def test_closing_lets_go_without_touching_the_machine(box, provider):
    """A server that restarts stops no machines at Fly; terminals are told 1012."""
    box.settle()
    client = Client()
    box.terminals.open(client, QUERY)
    await until(box, "starting")
    await box.close(ShuttingDown("The server restarts."))
    assert (client.code, provider.steps) == (1012, ["launch"])


@pytest.mark.gen_test
async def test_an_answer_about_the_past_is_not_believed(box, provider):
    """A reading that a whole start has overtaken says nothing about now."""
    for step in ("launch", "stop", "start"):
        provider.gate(step).set()
    box.settle()
    await until(box, "running")
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(fly_id):
        asked.set()
        await answer.wait()
        return FlyMachine("148e", "box", "stopped", *[""] * 4)

    provider.get_confirmed = slow
    checking = asyncio.ensure_future(box.check())
    await asked.wait()
    box.stop("by user")
    await until(box, "stopped")
    box.start()
    await until(box, "running")
    answer.set()
    await checking
    assert box.machine.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_that_was_taken_for_gone_is_itself_again_when_it_is_seen(box, provider):
    """And a plain exit in it is a plain exit."""
    provider.gate("launch").set()
    box.settle()
    await until(box, "running")
    seen = provider.fly
    await box.observe(None)
    assert (box.machine.state, box.status.is_gone) == ("error", True)
    await box.observe(seen)
    assert (box.machine.state, box.status.is_gone, box.ended_error()) == ("running", False, None)


@pytest.mark.gen_test
async def test_a_machine_that_failed_at_fly_is_in_error_with_the_reason(box, provider):
    """And Fly's `created` is a transition, not a stop."""
    provider.gate("launch").set()
    box.settle()
    await until(box, "running")
    await box.observe(FlyMachine("148e", "box", "created", *[""] * 4))
    assert box.machine.state == "running"
    await box.observe(FlyMachine("148e", "box", "failed", *[""] * 4))
    assert (box.machine.state, box.machine.error["message"]) == ("error", "Machine stopped by provider (failed).")
