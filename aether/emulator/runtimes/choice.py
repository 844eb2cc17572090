"""Which runtime a name means."""

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from aether.emulator.runtimes.base import ENGINES, FAST, Runtime
from aether.emulator.runtimes.containers import ContainerRuntime
from aether.emulator.runtimes.fast import FastRuntime
from aether.emulator.runtimes.processes import ProcessRuntime


async def choose(
    name: str,
    state_dir: Path,
    hidden: Iterable[Path],
    python: str = sys.executable,
    which: Callable[..., str | None] = shutil.which,
) -> Runtime:
    """Create the runtime of an emulator that keeps its machines in `state_dir`; raises RuntimeUnavailable.

    Args:
        hidden: what machines in namespaces do not see.
        python: the interpreter of the supervisors.
        which: how programs are found.
    """
    if name == FAST:
        return FastRuntime()
    if name in ENGINES:
        return await ContainerRuntime.choose(name, state_dir)
    return await ProcessRuntime.choose(name, state_dir, hidden, python, which)
