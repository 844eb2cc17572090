"""runtimes: which runtime a name means."""

import pytest

from aether.emulator.containers import Containers
from aether.emulator.fast import FastRuntime
from aether.emulator.runtimes import choose
from aether.emulator.sandbox import Sandbox, SandboxError


@pytest.mark.parametrize(("name", "kind", "is_contained"), [("fast", FastRuntime, False), ("plain", Sandbox, False)])
@pytest.mark.gen_test
async def test_a_name_means_a_runtime(tmp_path, name, kind, is_contained):
    """Which says whether a machine's processes end with it."""
    runtime = await choose(name, tmp_path, [])
    assert isinstance(runtime, kind)
    assert runtime.is_contained is is_contained


@pytest.mark.outside
@pytest.mark.parametrize("name", ["podman", "docker"])
@pytest.mark.gen_test
async def test_an_engines_name_means_containers(tmp_path, monkeypatch, name):
    """Once that engine answers."""
    (tmp_path / name).write_text("#!/bin/sh\n[ $1 != info ] || echo true true\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    runtime = await choose(name, tmp_path, [])
    assert isinstance(runtime, Containers)
    assert runtime.is_contained
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError):
        await choose(name, tmp_path, [])
