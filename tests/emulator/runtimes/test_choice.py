"""choice: which runtime a name means."""

import pytest

from aether.emulator.errors import RuntimeUnavailable
from aether.emulator.runtimes.base import Isolation
from aether.emulator.runtimes.choice import choose
from aether.emulator.runtimes.containers import ContainerRuntime
from aether.emulator.runtimes.fast import FastRuntime
from aether.emulator.runtimes.processes import ProcessRuntime


@pytest.mark.parametrize(("name", "kind"), [("fast", FastRuntime), ("plain", ProcessRuntime)])
@pytest.mark.gen_test
async def test_a_name_means_a_runtime(tmp_path, name, kind):
    """Which says how isolated its machines are."""
    runtime = await choose(name, tmp_path, [])
    assert isinstance(runtime, kind)
    assert runtime.isolation is Isolation.NONE


@pytest.mark.outside
@pytest.mark.parametrize("name", ["podman", "docker"])
@pytest.mark.gen_test
async def test_an_engines_name_means_containers(tmp_path, monkeypatch, name):
    """Once that engine answers."""
    (tmp_path / name).write_text("#!/bin/sh\n[ $1 != info ] || echo true true\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    runtime = await choose(name, tmp_path, [])
    assert isinstance(runtime, ContainerRuntime)
    assert runtime.isolation is Isolation.CONTAINER
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeUnavailable):
        await choose(name, tmp_path, [])
