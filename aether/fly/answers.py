"""Fly's answers: the machine as Fly's API returns it, and refusals as errors; untrusted, so a schema comes first.

Sources: Fly docs "Machines API" for the shapes; recorded answers for the forms of errors.
"""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from aether.errors import LimitExceeded, ProviderError

log = logging.getLogger(__name__)

_CONFIG = {
    "type": ["object", "null"],
    "properties": {
        "image": {"type": "string"},
        "guest": {"type": ["object", "null"]},
        "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    },
}
_MACHINE = Draft202012Validator(
    {
        "type": "object",
        "required": ["id", "state"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "state": {"type": "string"},
            "region": {"type": "string"},
            "instance_id": {"type": "string"},
            "private_ip": {"type": "string"},
            "created_at": {"type": "string"},
            "config": _CONFIG,
            "incomplete_config": _CONFIG,
            "host_status": {"type": "string"},
            "events": {"type": ["array", "null"], "items": {"type": "object"}},
        },
    }
)


@dataclass(frozen=True)
class FlyMachine:
    """A machine as Fly's API returns it; attributes have Fly's names."""

    id: str
    name: str
    state: str
    region: str
    instance_id: str
    private_ip: str
    created_at: str
    host_status: str = "ok"
    config: dict[str, Any] = field(default_factory=dict)
    events: tuple[dict[str, Any], ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """The machine's own metadata."""
        return self.config.get("metadata") or {}

    @property
    def is_reachable(self) -> bool:
        """Whether the machine's host answers Fly; while it does not, the machine is not gone, and its state is old."""
        return self.host_status == "ok"

    @property
    def last_exit(self) -> dict[str, Any]:
        """The newest event's `exit_event` (events come newest first), empty if the machine never ended."""
        for event in self.events:
            request = event.get("request")
            if isinstance(request, dict) and isinstance(request.get("exit_event"), dict):
                return dict(request["exit_event"])
        return {}

    def why_stopped(self) -> str:
        """Say why the machine does not run, as the end of "Machine stopped …"."""
        last = self.last_exit
        if last.get("oom_killed"):
            return "because it ran out of memory"
        if last.get("requested_stop"):
            return "from outside of aether"
        if last.get("error"):
            return f"by provider ({last['error']})"
        if last:
            return f"by itself, with exit code {last.get('exit_code')}"
        return f"by provider ({self.state})"


def machine(answer: Any) -> FlyMachine:
    """Make a machine of Fly's answer; raise ProviderError where it makes no sense."""
    if not _MACHINE.is_valid(answer):
        raise ProviderError("Fly answered with a machine that lacks its id or state; try again")
    return FlyMachine(
        id=answer["id"],
        name=answer.get("name", ""),
        state=answer["state"],
        region=answer.get("region", ""),
        instance_id=answer.get("instance_id", ""),
        private_ip=answer.get("private_ip", ""),
        created_at=answer.get("created_at", ""),
        host_status=answer.get("host_status", "ok"),
        config=answer.get("config") or answer.get("incomplete_config") or {},
        events=tuple(answer.get("events") or ()),
    )


def machines(answer: list[Any]) -> list[FlyMachine]:
    """Make machines of a list; one that makes no sense does not hide the others."""
    found = []
    for item in answer:
        try:
            found.append(machine(item))
        except ProviderError:
            log.warning("Fly lists something that is no machine; left out")
    return found


def decode(what: str, body: bytes) -> Any:
    """Decode a success; raise ProviderError where it is not JSON."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        raise ProviderError(f"Fly answered {what} with something that is not JSON; try again") from error


def refusal(what: str, status: int, body: bytes, request_id: str) -> ProviderError | LimitExceeded:
    """Make an error of a refusal; `request_id` is what Fly's support asks for."""
    text = f"Fly refused {what} with {status}: {said(body)} (fly-request-id {request_id})"
    if status == 429:
        return LimitExceeded(f"{text}; wait a moment and try again")
    if status == 401:
        text += "; check FLY_API_TOKEN"
    return ProviderError(text, status=status)


def said(body: bytes) -> str:
    """Return a refusal's text: under `message` (leases) or `error`, or a body that is not JSON at all."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace") or "nothing"
    if isinstance(answer, dict):
        return str(answer.get("message") or answer.get("error") or "nothing")[:500]
    return "nothing"
