"""Machines as containers of podman or docker: each runs the image that its config names.

A container keeps its file system over stops, as a machine with `rootfs.persist` does; where Fly would wipe that, there
is a new container. The engine binds a machine's port when it starts: SSH is answered as soon as the image's server does
that, and a connection that starts a stopped machine is not itself answered. Labels tell whose a container is.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from aether.emulator.contained import ContainerGuest
from aether.emulator.engine import Engine, EngineError, archive
from aether.emulator.record import Json
from aether.emulator.requests import file_content
from aether.emulator.rootfs import Rootfs
from aether.emulator.sandbox import SandboxError

log = logging.getLogger(__name__)

ENGINES = ("podman", "docker")
_SSH_PORT = 2222


class Containers:
    """How the machines of one emulator are run by a container engine."""

    is_contained = True

    def __init__(self, engine: Engine, state_dir: Path, limits: Collection[str]) -> None:
        self._engine = engine
        self._limits = limits
        self._state_dir = state_dir
        self._owner = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]

    @classmethod
    async def choose(cls, name: str, state_dir: Path) -> "Containers":
        """Find the engine, see that it works, and end what an earlier emulator in this directory left; SandboxError."""
        program = shutil.which(name)
        if program is None:
            raise SandboxError(f"the runtime '{name}' needs {name}, which is not installed; install it, or use 'auto'")
        engine = Engine(program, state_dir)
        try:
            containers = cls(engine, state_dir, await engine.limits())
            await containers._clean()
        except EngineError as error:
            text = f"{name} does not work here: {error}; mend that (try: {name} info), or use the runtime 'auto'"
            raise SandboxError(text) from None
        if missing := {"memory", "cpu"} - {*containers._limits}:
            log.info("%s cannot limit %s here: machines may use all there is", name, " and ".join(sorted(missing)))
        return containers

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> ContainerGuest:
        """Make the machine's container unless there is one, write its files, start it; SandboxError, OSError."""
        name = _name(environment["FLY_MACHINE_ID"])
        options = self._options(listener, environment, config)
        if listener is not None:
            listener.close()  # from here on the port is the engine's
        try:
            await self._prepare(name, rootfs, options, config)
            if config.get("files"):
                await self._engine.copy(name, _files(config["files"]))
            await self._engine.call("start", name)
        except EngineError as error:
            await self._forget(name, rootfs)
            raise SandboxError(str(error)) from None
        signal_name = config.get("stop_config", {}).get("signal", "SIGTERM")
        return await ContainerGuest.attach(self._engine, name, signal_name, rootfs.path.parent / "console.log")

    async def _forget(self, name: str, rootfs: Rootfs) -> None:
        """Let the next start make a new container if somebody removed this one."""
        with contextlib.suppress(EngineError):  # it does not work at all: nobody knows what it has
            await self._end_update(name)
            if not await self._has_container(name):
                (rootfs.path / "container").unlink(missing_ok=True)

    async def _prepare(self, name: str, rootfs: Rootfs, options: list[str], config: Json) -> None:
        """See that there is a container as the config wants it, with the files of the one before unless wiped.

        The one before goes when the new one is there. (What it had as a variable, and the config has no more, stays: an
        engine cannot take a variable away from an image.)
        """
        wanted = hashlib.sha256(json.dumps([options, config["image"], _command(config)]).encode()).hexdigest()
        mark = rootfs.path / "container"
        there = mark.read_text() if mark.exists() else ""
        if there == wanted:
            return
        if there:
            await self._end_update(name)
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

    async def _end_update(self, name: str) -> None:
        """Do the last step of an update that was cut off there: the files are in the new container."""
        if not await self._has_container(name) and await self._has_container(f"{name}-new"):
            await self._engine.call("rename", f"{name}-new", name)

    async def _create(self, name: str, options: list[str], image: str, config: Json) -> None:
        entrypoint, command = _command(config)
        if image.startswith("-"):
            raise EngineError(f"{image} cannot be an image: it would be an option of the engine's")
        try:
            await self._engine.call("create", "--name", name, *options, *entrypoint, image, *command)
        except EngineError as error:
            if await self._has_image(image):
                raise
            build = "build it (scripts/build-image.sh --app local), or set AETHER_IMAGE"
            raise EngineError(f"there is no image {image} here, and it cannot be fetched; {build}: {error}") from None

    def _options(self, listener: socket.socket | None, environment: Mapping[str, str], config: Json) -> list[str]:
        guest = config["guest"]
        # What it prints goes to console.log; the engine would keep a copy that grows as long as there is the container.
        options = [f"--label=aether.emulator={self._owner}", "--hostname=aether", "--log-driver=none"]
        sizes = {"memory": f"--memory={guest['memory_mb']}m", "cpu": f"--cpus={guest['cpus']}"}
        options += [option for kind, option in sizes.items() if kind in self._limits]
        options += [f"--env={name}={value}" for name, value in environment.items() if name and "\0" not in name + value]
        if listener is not None:
            inside = config["services"][0].get("internal_port", _SSH_PORT)
            options.append(f"--publish=127.0.0.1:{listener.getsockname()[1]}:{inside}")
        return options

    async def sweep(self, machine_id: str) -> None:
        """Stop the machine's container, which may run still if an earlier emulator was killed."""
        with contextlib.suppress(EngineError):  # there is none
            await self._engine.call("kill", _name(machine_id))

    async def remove(self, machine_id: str) -> None:
        """Remove the machine's container and with it its files."""
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
        """Kill what runs still, and remove what belongs to machines that are no more."""
        label = f"--filter=label=aether.emulator={self._owner}"
        for name in (await self._engine.call("ps", "--all", label, "--format={{.Names}}")).split():
            machine_id = name.removeprefix("aether-").removesuffix("-new")
            is_known = (self._state_dir / "machines" / machine_id / "machine.json").exists()
            if is_known:
                await self._end_update(_name(machine_id))
                await self.sweep(machine_id)
            if not is_known or (name != _name(machine_id) and await self._has_container(name)):
                await self._remove(name)


def _name(machine_id: str) -> str:
    return f"aether-{machine_id}"


def _command(config: Json) -> tuple[list[str], list[str]]:
    """Say what `config.init` runs instead of the image's command: options, and arguments (Fly docs, "init")."""
    init = config.get("init", {})
    words = [*(init.get("exec") or init.get("entrypoint") or []), *([] if init.get("exec") else init.get("cmd") or [])]
    if not (init.get("exec") or init.get("entrypoint")):
        return [], words
    return [f"--entrypoint={words[0]}"], words[1:]


def _files(files: list[Json]) -> bytes:
    """Pack the config's `files` as they shall lie in the machine."""
    return archive((file["guest_path"], file_content(file), file.get("mode", 0o644)) for file in files)
