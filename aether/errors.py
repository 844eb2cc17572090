"""Every deliberate error, with its HTTP status and its WebSocket close code; nothing else decides either.

AetherError
├── InvalidMessage      400   –     the schema says no
├── NotAllowed          403   –     Host or Origin is not ours
├── RouteNotFound       404   –     no such path
├── MachineNotFound     404   4404  no such machine, or it was destroyed under an open terminal
├── MethodNotAllowed    405   –     the path has no such method
├── MachineNotRunning   409   4409  a terminal on a machine that does not run
├── MachineStopped      –     4410  the machine stopped under an open terminal
├── LimitExceeded       429   4429  our limits, or Fly's rate limit after retries
├── ProviderError       502   4502  Fly said no, was unreachable, or made no sense
│   └── SshError        502   4502  the machine's SSH server said no or was unreachable
├── ShuttingDown        503   1012  the server restarts
└── ProviderTimeout     504   4504  Fly or the machine did not answer in time

Close codes 4000–4999 are private use (RFC 6455, section 7.4.2); 1012 is "service restart" (IANA registry).
"""

from typing import Any


class AetherError(Exception):
    """An error we expect; its text says what happened and what to do next."""

    code = "internal_error"
    http_status = 500
    ws_close = 1011

    @property
    def message(self) -> str:
        """What happened and what to do next."""
        return str(self)

    def to_json(self) -> dict[str, Any]:
        """Return the one error shape's inner object."""
        return {"code": self.code, "message": self.message}


class InvalidMessage(AetherError):
    """Untrusted input did not fit its schema; `path` names the offending part, such as `cpus`."""

    code = "invalid_message"
    http_status = 400

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "path": self.path} if self.path else super().to_json()


class NotAllowed(AetherError):
    """The request's Host or Origin is not one of ours."""

    code = "not_allowed"
    http_status = 403


class RouteNotFound(AetherError):
    """No route has this path."""

    code = "not_found"
    http_status = 404


class MachineNotFound(AetherError):
    """There is no machine with this id, or there is no longer."""

    code = "machine_not_found"
    http_status = 404
    ws_close = 4404


class MethodNotAllowed(AetherError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    http_status = 405


class MachineNotRunning(AetherError):
    """A terminal was asked for on a machine that does not run."""

    code = "machine_not_running"
    http_status = 409
    ws_close = 4409


class MachineStopped(AetherError):
    """The machine stopped under an open terminal."""

    code = "machine_stopped"
    http_status = 409
    ws_close = 4410


class LimitExceeded(AetherError):
    """One of our limits, or Fly's rate limit after retries."""

    code = "limit_exceeded"
    http_status = 429
    ws_close = 4429


class ProviderError(AetherError):
    """Fly said no, was unreachable, or made no sense; `status` is Fly's HTTP status, if there was one."""

    code = "provider_error"
    http_status = 502
    ws_close = 4502

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SshError(ProviderError):
    """The machine's SSH server refused us, or showed a key that is not the machine's."""

    code = "ssh_error"


class ShuttingDown(AetherError):
    """The server is going down; come back when it is up again."""

    code = "shutting_down"
    http_status = 503
    ws_close = 1012


class ProviderTimeout(AetherError):
    """Fly, or the machine's SSH server, did not answer in time."""

    code = "provider_timeout"
    http_status = 504
    ws_close = 4504
