"""housekeeping: forgotten machines are stopped, used ones are not."""

import pytest

from aether.fleet.housekeeping import Housekeeping, duration

PROMPT = "coder@aether:~$ "


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
    await aether.housekeeping.sweep()
    assert aether.fleet.get(box["id"]).state == "running"
    clock.now += 1
    await aether.housekeeping.sweep()
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
    await aether.housekeeping.sweep()
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


class Defective:
    """A fleet that cannot stop one of its machines."""

    def __init__(self, fleet, machine_id):
        self._fleet, self._machine_id = fleet, machine_id

    def lifecycles(self):
        return self._fleet.lifecycles()

    def stop(self, machine_id, by):
        if machine_id == self._machine_id:
            raise RuntimeError("no")
        return self._fleet.stop(machine_id, by)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_one_machine_that_cannot_be_stopped_does_not_end_the_sweep(aether, machine, clock, until_state):
    """The others are stopped all the same. (No real fault makes `Fleet.stop` itself raise.)"""
    boxes = [await machine() for _ in range(2)]
    for box in boxes:
        await until_state(box["id"], "running")
    clock.now += 600
    await Housekeeping(Defective(aether.fleet, boxes[0]["id"]), aether.reconciler, 600, 60, clock).sweep()
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
