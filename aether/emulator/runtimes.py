"""Which runtime a name means."""

from collections.abc import Iterable
from pathlib import Path

from aether.emulator.containers import ENGINES, Containers
from aether.emulator.fast import FastRuntime
from aether.emulator.runtime import Runtime
from aether.emulator.sandbox import Sandbox


async def choose(name: str, state_dir: Path, hidden: Iterable[Path]) -> Runtime:
    """Make the runtime of an emulator that keeps its machines in `state_dir`; SandboxError where it cannot be had."""
    if name == "fast":
        return FastRuntime()
    if name in ENGINES:
        return await Containers.choose(name, state_dir)
    return await Sandbox.choose(name, state_dir, hidden)
