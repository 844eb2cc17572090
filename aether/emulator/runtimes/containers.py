"""Machines as containers of podman or docker: each runs the image that its config names.

A container keeps its file system when it stops, as a machine with `rootfs.persist` does; where Fly would wipe that, a
new container is created. The engine binds a machine's port when it starts: SSH is served as soon as the image's server
listens, and the connection that starts a stopped machine is not served. A label names the emulator of a container.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from aether.emulator.config import file_content
from aether.emulator.errors import BootError, EngineError, Json, RuntimeUnavailable
from aether.emulator.runtimes.base import Isolation
from aether.emulator.runtimes.container_process import ContainerProcess, attach
from aether.emulator.runtimes.engine import Engine, archive
from aether.emulator.runtimes.rootfs import Rootfs

log = logging.getLogger(__name__)

_SSH_PORT = 2222


class ContainerRuntime:
    """Runs the machines of one emulator in a container engine."""

    isolation = Isolation.CONTAINER

    def __init__(self, engine: Engine, state_dir: Path, limits: Collection[str]) -> None:
        self._engine = engine
        self._limits = limits
        self._state_dir = state_dir
        self._owner = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]

    @classmethod
    async def choose(cls, name: str, state_dir: Path) -> "ContainerRuntime":
        """Find the engine, check it, and end what an earlier emulator in this directory left; RuntimeUnavailable."""
        program = shutil.which(name)
        if program is None:
            text = f"the runtime '{name}' needs {name}, which is not installed; install it, or use 'auto'"
            raise RuntimeUnavailable(text)
        engine = Engine(program, state_dir)
        try:
            runtime = cls(engine, state_dir, await engine.limits())
            await runtime._clean()
        except EngineError as error:
            text = f"{name} does not work here: {error}; repair it (try: {name} info), or use the runtime 'auto'"
            raise RuntimeUnavailable(text) from None
        if missing := {"memory", "cpu"} - {*runtime._limits}:
            log.info("%s cannot limit %s here: machines may use all of it", name, " and ".join(sorted(missing)))
        return runtime

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> ContainerProcess:
        """Create the machine's container unless it exists, write its files, start it; raises BootError, OSError."""
        name = _name(environment["FLY_MACHINE_ID"])
        options = self._options(listener, environment, config)
        if listener is not None:
            listener.close()  # the engine binds the port itself
        try:
            await self._prepare(name, rootfs, options, config)
            if config.get("files"):
                await self._engine.copy(name, _files(config["files"]))
            await self._engine.call("start", name)
        except EngineError as error:
            await self._forget(name, rootfs)
            raise BootError(str(error)) from None
        signal_name = config.get("stop_config", {}).get("signal", "SIGTERM")
        client = await attach(self._engine, name, rootfs.path.parent / "console.log")
        return ContainerProcess(self._engine, name, signal_name, client)

    async def _forget(self, name: str, rootfs: Rootfs) -> None:
        """Let the next start create a new container if this one has been removed."""
        with contextlib.suppress(EngineError):  # it does not work, so what it has is not known
            await self._finish_update(name)
            if not await self._has_container(name):
                (rootfs.path / "container").unlink(missing_ok=True)

    async def _prepare(self, name: str, rootfs: Rootfs, options: list[str], config: Json) -> None:
        """Ensure that there is a container with the config's options, and the old one's files unless they are wiped.

        The old one is removed once the new one exists. (Variables that the config has no more stay: an engine cannot
        remove a variable of an image.)
        """
        wanted = hashlib.sha256(json.dumps([options, config["image"], _command(config)]).encode()).hexdigest()
        mark = rootfs.path / "container"
        present = mark.read_text() if mark.exists() else ""
        if present == wanted:
            return
        if present:
            await self._finish_update(name)
            image = f"localhost/aether-emulator/{name}:latest"
            await self._remove(f"{name}-new")
            await self._engine.call("commit", name, image)
            await self._create(f"{name}-new", options, image, config)
            await self._engine.call("rm", "--force", name)
            await self._engine.call("rename", f"{name}-new", name)
        else:
            await self._remove(name)
            await self._create(name, options, config["image"], config)
        rootfs.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.write_text(wanted)

    async def _finish_update(self, name: str) -> None:
        """Repeat the last step of an update that was interrupted: the files are in the new container."""
        if not await self._has_container(name) and await self._has_container(f"{name}-new"):
            await self._engine.call("rename", f"{name}-new", name)

    async def _create(self, name: str, options: list[str], image: str, config: Json) -> None:
        entrypoint, command = _command(config)
        if image.startswith("-"):
            raise EngineError(f"{image} cannot be an image: it would be an option of the engine")
        try:
            await self._engine.call("create", "--name", name, *options, *entrypoint, image, *command)
        except EngineError as error:
            if await self._has_image(image):
                raise
            build = "build it (scripts/build-image.sh --app local), or set AETHER_IMAGE"
            raise EngineError(f"there is no image {image} here, and it cannot be fetched; {build}: {error}") from None

    def _options(self, listener: socket.socket | None, environment: Mapping[str, str], config: Json) -> list[str]:
        guest = config["guest"]
        # Its output goes to console.log; the engine would keep a copy that grows as long as the container exists.
        options = [f"--label=aether.emulator={self._owner}", "--hostname=aether", "--log-driver=none"]
        sizes = {"memory": f"--memory={guest['memory_mb']}m", "cpu": f"--cpus={guest['cpus']}"}
        options += [option for kind, option in sizes.items() if kind in self._limits]
        options += [f"--env={name}={value}" for name, value in environment.items() if name and "\0" not in name + value]
        if listener is not None:
            inside = config["services"][0].get("internal_port", _SSH_PORT)
            options.append(f"--publish=127.0.0.1:{listener.getsockname()[1]}:{inside}")
        return options

    async def kill_leftovers(self, machine_id: str) -> None:
        """Kill the machine's container, which may still run if an earlier emulator was killed."""
        with contextlib.suppress(EngineError):  # there is none
            await self._engine.call("kill", _name(machine_id))

    async def remove(self, machine_id: str) -> None:
        """Remove the machine's container, and its files with it."""
        try:
            await self._remove(_name(machine_id))
        except EngineError as error:
            log.warning("machine %s: its container could not be removed: %s", machine_id, error)

    async def _remove(self, name: str) -> None:
        if await self._has_container(name):
            await self._engine.call("rm", "--force", "--volumes", name)
        if image := await self._engine.call("images", "--quiet", f"localhost/aether-emulator/{name}"):
            await self._engine.call("image", "rm", "--force", *{*image.split()})

    async def _has_container(self, name: str) -> bool:
        return bool(await self._engine.call("ps", "--all", "--quiet", f"--filter=name=^{name}$"))

    async def _has_image(self, name: str) -> bool:
        try:
            return bool(await self._engine.call("image", "inspect", "--format={{.Id}}", name))
        except EngineError:
            return False

    async def _clean(self) -> None:
        """Kill the containers that still run, and remove those of machines that do not exist any more."""
        label = f"--filter=label=aether.emulator={self._owner}"
        for name in (await self._engine.call("ps", "--all", label, "--format={{.Names}}")).split():
            machine_id = name.removeprefix("aether-").removesuffix("-new")
            is_known = (self._state_dir / "machines" / machine_id / "machine.json").exists()
            if is_known:
                await self._finish_update(_name(machine_id))
                await self.kill_leftovers(machine_id)
            if not is_known or (name != _name(machine_id) and await self._has_container(name)):
                await self._remove(name)


def _name(machine_id: str) -> str:
    return f"aether-{machine_id}"


def _command(config: Json) -> tuple[list[str], list[str]]:
    """Return what `config.init` runs instead of the image's command: options, and arguments (Fly docs, "init")."""
    init = config.get("init", {})
    words = [*(init.get("exec") or init.get("entrypoint") or []), *([] if init.get("exec") else init.get("cmd") or [])]
    if not (init.get("exec") or init.get("entrypoint")):
        return [], words
    return [f"--entrypoint={words[0]}"], words[1:]


def _files(files: list[Json]) -> bytes:
    """Pack the config's `files` for the container."""
    return archive((file["guest_path"], file_content(file), file.get("mode", 0o644)) for file in files)
