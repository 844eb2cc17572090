"""Health, readiness, metrics, OpenAPI."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aether.fleet.registry import Fleet
from aether.handlers.base import BaseHandler, OriginPolicy
from aether.machines import MachineState


class JsonHandler(BaseHandler):
    """A call that always answers the same: `/healthz`, `/openapi.json`."""

    def initialize(self, policy: OriginPolicy, answer: dict[str, Any]) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.answer = answer

    async def get(self) -> None:
        """Answer."""
        self.finish(self.answer)


class ReadyHandler(BaseHandler):
    """`/readyz`: whether requests for machines can be served."""

    def initialize(self, policy: OriginPolicy, fleet: Fleet) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.fleet = fleet

    async def get(self) -> None:
        """Answer 200, or 503 while shutting down."""
        self.fleet.refuse_if_closing()
        self.finish({"status": "ready"})


class FleetCollector(Collector):
    """Counts the fleet when Prometheus asks."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        states = [machine.state for machine in self._fleet.list()]
        machines = GaugeMetricFamily("aether_machines", "Machines by state", labels=["state"])
        for state in MachineState:
            machines.add_metric([state.value], states.count(state))
        yield machines
        yield GaugeMetricFamily("aether_terminals", "Open terminals", value=self._fleet.terminal_count())


class MetricsHandler(BaseHandler):
    """`/metrics` in Prometheus' text format."""

    def initialize(self, policy: OriginPolicy, registry: CollectorRegistry) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.registry = registry

    async def get(self) -> None:
        """Answer with all metrics."""
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(generate_latest(self.registry))
