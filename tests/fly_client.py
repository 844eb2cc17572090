"""The real client of the Machines API, whose calls a test can watch, and answer itself."""

from collections.abc import Awaitable, Callable
from typing import Any

from aether.fly.client import FlyClient


class InterceptedFlyClient(FlyClient):
    """`client.instead["list"] = function` answers a call in Fly's place, for what the emulator cannot be made to say.

    `seals` are the pending marks of the machines it has created, by their aether id.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.instead: dict[str, Callable[..., Awaitable[Any]]] = {}
        self.seals: dict[str, str] = {}

    async def create(self, name: str, region: str, config: dict[str, Any]) -> Any:
        metadata = config.get("metadata", {})
        if "aether_pending" in metadata:
            self.seals[metadata["aether_id"]] = metadata["aether_pending"]
        return await self.instead.get("create", super().create)(name, region, config)

    async def get(self, machine_id: str) -> Any:
        return await self.instead.get("get", super().get)(machine_id)

    async def list(self, metadata: dict[str, str]) -> Any:
        return await self.instead.get("list", super().list)(metadata)

    async def wait(self, machine_id: str, state: str, timeout_s: int, instance_id: str = "") -> Any:
        return await self.instead.get("wait", super().wait)(machine_id, state, timeout_s, instance_id)

    async def start(self, machine_id: str) -> None:
        await self.instead.get("start", super().start)(machine_id)

    async def stop(self, machine_id: str) -> None:
        await self.instead.get("stop", super().stop)(machine_id)

    async def set_metadata(self, machine_id: str, key: str, value: str) -> None:
        await self.instead.get("set_metadata", super().set_metadata)(machine_id, key, value)
