"""Health, readiness, metrics."""

import json

import pytest


@pytest.mark.gen_test
async def test_health_says_where_machines_are(call):
    """The page warns when they are processes on this computer."""
    health = json.loads((await call("GET", "/healthz")).body)
    assert (health["status"], health["provider"]) == ("ok", "local")
    assert health["sandboxed"] in (True, False)
    assert health["contained"] is False


@pytest.mark.gen_test
async def test_readiness_ends_with_the_shutdown(aether, call):
    """A load balancer stops sending requests before the server is gone."""
    assert (await call("GET", "/readyz")).code == 200
    await aether.fleet.close()
    response = await call("GET", "/readyz")
    assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "shutting_down")


@pytest.mark.gen_test
async def test_metrics_count_machines_by_state_and_terminals(call, machine, terminal, until_state):
    """Prometheus' text format."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until("$ ")
    text = (await call("GET", "/metrics")).body.decode()
    assert 'aether_machines{state="running"} 1.0' in text
    assert 'aether_machines{state="error"} 0.0' in text
    assert "aether_terminals 1.0" in text
