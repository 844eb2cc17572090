"""idle: forgotten machines are stopped, used ones are not."""

import pytest

from aether.idle import duration, idle_stop_at, is_idle
from aether.machines import Guest, Machine, MachineState

PROMPT = "coder@aether:~$ "


@pytest.fixture
def box():
    machine = Machine("id", "box", "sjc", "image", Guest("shared", 1, 512), 1000.0, 1000.0, 1000.0, 20000, "key")
    machine.state = MachineState.RUNNING
    return machine


def test_a_running_machine_is_idle_once_its_time_is_up(box):
    """Ten minutes after the last activity, not before."""
    assert idle_stop_at(box, 600) == 1600
    assert not is_idle(box, 600, 1599.9)
    assert is_idle(box, 600, 1600)


@pytest.mark.parametrize("state", [state for state in MachineState if state is not MachineState.RUNNING])
def test_only_a_running_machine_can_be_idle(box, state):
    """What does not run is not stopped."""
    box.state = state
    assert idle_stop_at(box, 600) is None
    assert not is_idle(box, 600, 1e9)


@pytest.mark.parametrize(
    ("seconds", "said"), [(600, "10 minutes"), (1, "1 second"), (90, "90 seconds"), (0.5, "0.5 seconds")]
)
def test_a_time_out_is_said_as_a_person_would(seconds, said):
    """The user reads it in the terminal."""
    assert duration(seconds) == said


@pytest.mark.gen_test
async def test_the_sweep_stops_an_idle_machine_and_tells_its_terminal_why(
    aether, machine, terminal, clock, until_state
):
    """Stopped, not destroyed, and the terminal says after how long."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until(PROMPT)
    clock.now += 599
    await aether.sweeper.sweep()
    assert aether.fleet.get(box["id"]).state == "running"
    clock.now += 1
    await aether.sweeper.sweep()
    assert await tty.until_closed() == 4410
    assert tty.errors == ["Machine stopped after 10 minutes without activity."]
    await until_state(box["id"], "stopped")


@pytest.mark.gen_test
async def test_typing_puts_the_stop_off(aether, machine, terminal, clock):
    """Input is activity."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until(PROMPT)
    clock.now += 599
    await tty.run("echo here")
    clock.now += 599
    await aether.sweeper.sweep()
    assert aether.fleet.get(box["id"]).state == "running"


@pytest.mark.gen_test
async def test_resizing_an_open_tab_does_not_put_the_stop_off(aether, machine, terminal, clock):
    """A forgotten tab is not activity."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until(PROMPT)
    await tty.type("stty -echo; echo quiet-$((1+1)); cat\n")  # a shell would redraw its prompt, and that is output
    await tty.until("quiet-2")
    before = aether.fleet.get(box["id"]).last_activity_at
    clock.now += 300
    await tty.send(type="resize", cols=100, rows=30)
    await tty.send(type="nonsense")  # answered once the resize has been taken in
    while not tty.errors:
        await tty.read()
    assert aether.fleet.get(box["id"]).last_activity_at == before


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_one_machine_that_cannot_be_stopped_does_not_end_the_sweep(
    aether, machine, clock, until_state, monkeypatch
):
    """The others are stopped all the same. (No real fault makes `Fleet.stop` itself raise.)"""
    boxes = [await machine() for _ in range(2)]
    for box in boxes:
        await until_state(box["id"], "running")
    real = aether.fleet.stop

    def stop(machine_id, by):
        if machine_id == boxes[0]["id"]:
            raise RuntimeError("no")
        return real(machine_id, by)

    monkeypatch.setattr(aether.fleet, "stop", stop)
    clock.now += 600
    await aether.sweeper.sweep()
    await until_state(boxes[1]["id"], "stopped")


class TestPeriodic:
    """With a sweep every 50 ms."""

    @pytest.fixture
    def settings(self, server_environ):
        from aether.settings import load

        return load(["--idle-check-s", "0.05"], server_environ)

    @pytest.mark.gen_test
    async def test_sweeps_come_by_themselves(self, machine, clock, until_state):
        """Tornado's PeriodicCallback drives the sweep."""
        box = await machine()
        await until_state(box["id"], "running")
        clock.now += 600
        await until_state(box["id"], "stopped")
