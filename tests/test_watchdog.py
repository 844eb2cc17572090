"""watchdog: what hangs fails, and says where; in a pytest of its own, whose patience ends when its tests say so."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.outside
ROOT = Path(__file__).parent.parent
PRELUDE = """
import asyncio, logging, signal, subprocess, threading
import pytest
from tests.patience import AGAIN_S, patient

def soon():
    signal.setitimer(signal.ITIMER_REAL, 0.1, AGAIN_S)

"""


@pytest.fixture
def outcome(tmp_path):
    """`outcome("def test…")` → what pytest says of a file with the watchdog in force."""

    def run(text):
        (tmp_path / "test_it.py").write_text(PRELUDE + textwrap.dedent(text))
        command = [sys.executable, "-m", "pytest", *("-p", "tests.watchdog"), *("-p", "no:randomly")]
        command += [f"--rootdir={tmp_path}", f"--confcutdir={tmp_path}", "-c", "/dev/null", tmp_path / "test_it.py"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    return run


def test_what_waits_in_the_event_loop_says_which_task_waits_where(outcome):
    """Down to the innermost coroutine, with the log and the log files."""
    said = outcome(
        """
        from tornado.ioloop import IOLoop

        @pytest.fixture
        def io_loop():
            loop = IOLoop(make_current=False)
            yield loop
            for task in asyncio.all_tasks(loop.asyncio_loop):
                task.cancel()
            loop.close()

        async def inner():
            logging.getLogger("aether").warning("said in the log")
            asyncio.get_running_loop().call_soon(soon)
            await asyncio.Event().wait()

        async def outer():
            await asyncio.create_task(inner(), name="the one that waits")

        def test_it(io_loop, caplog, tmp_path_factory):
            (tmp_path_factory.mktemp("server") / "console.log").write_text("said in a file")
            io_loop.run_sync(outer)
        """
    )
    assert "test_it: 60 s have passed while it runs" in said
    waiting = said.partition("--- task the one that waits")[2]
    assert "in inner\n    await asyncio.Event().wait()" in waiting
    assert "said in the log" in said.partition("--- log\n")[2]
    assert "said in a file" in said.partition("--- console.log\n")[2]
    assert "1 failed" in said


def test_what_blocks_the_thread_says_where_and_what_other_threads_do(outcome):
    """A wait for a process is none of the event loop's."""
    said = outcome(
        """
        def idle(event):
            event.wait()

        def test_it():
            event = threading.Event()
            threading.Thread(target=idle, args=[event], name="helper").start()
            try:
                with subprocess.Popen(["sleep", "1000"]) as process:
                    try:
                        soon(), process.wait()
                    finally:
                        process.kill()
            finally:
                event.set()
        """
    )
    assert "process.wait()" in said.partition("--- the tests' thread")[2].partition("---")[0]
    assert "in idle" in said.partition("--- thread helper")[2].partition("---")[0]
    assert "1 failed" in said


@pytest.mark.parametrize(
    ("body", "phase"),
    [("soon(); event.wait(); yield", "are made"), ("yield; soon(); event.wait()", "end")],
    ids=["setup", "teardown"],
)
def test_fixtures_are_watched_too(outcome, body, phase):
    """A test's beginning and its end have as long as the test."""
    said = outcome(
        f"""
        @pytest.fixture
        def thing():
            event = threading.Event()
            {body}

        def test_it(thing):
            pass
        """
    )
    assert f"60 s have passed while its fixtures {phase}" in said
    assert "1 error" in said


def test_a_test_may_be_given_more_or_less_patience(outcome):
    """And what takes its time only once, such as the build of an image, is not the test's that is first."""
    said = outcome(
        """
        def left():
            return signal.getitimer(signal.ITIMER_REAL)[0]

        @pytest.mark.patience(50)
        def test_it():
            assert 0 < left() <= 50
            with patient(3600):
                assert left() > 50
            assert 0 < left() <= 50
            soon()
            threading.Event().wait()
        """
    )
    assert "50 s have passed while it runs" in said
    assert "1 failed" in said
