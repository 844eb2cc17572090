"""Every deliberate error, with its HTTP status and its WebSocket close code; nothing else decides either.

AetherError
├── InvalidMessage      400   –     the schema says no
├── NotAllowed          403   –     Host or Origin is not ours
├── RouteNotFound       404   –     no such path
├── MachineNotFound     404   4404  no such machine, or it was destroyed under an open terminal
├── SessionNotFound     404   –     the machine has no such session
├── MethodNotAllowed    405   –     the path has no such method
├── MachineNotRunning   409   4409  a terminal on a machine that does not run
├── MachineStopped      –     4410  the machine stopped under an open terminal
├── SessionTaken        –     4411  another client opened the session
├── LimitExceeded       429   4429  our limits, or Fly's rate limit after retries
├── ProviderError       502   4502  Fly said no, was unreachable, or made no sense
│   └── SshError        502   4502  the machine's SSH server said no or was unreachable
├── ShuttingDown        503   1012  the server restarts
└── ProviderTimeout     504   4504  Fly or the machine did not answer in time

Close codes 4000–4999 are private use (RFC 6455, section 7.4.2); 1012 is "service restart" (IANA registry).
"""

from typing import Any


class AetherError(Exception):
    """An error we expect; its text says what happened and what to do next.

    A subclass states its `code`; without `http` or `close` it has its parent's HTTP status or WebSocket close code.
    """

    code = "internal_error"
    http_status = 500
    ws_close = 1011
    retry_s: float | None = None  # when a client of a terminal may come back

    def __init_subclass__(cls, *, code: str, http: int | None = None, close: int | None = None) -> None:
        super().__init_subclass__()
        cls.code = code
        cls.http_status = cls.http_status if http is None else http
        cls.ws_close = cls.ws_close if close is None else close

    @property
    def message(self) -> str:
        """What happened and what to do next."""
        return str(self)

    def to_json(self) -> dict[str, Any]:
        """Return the one error shape's inner object."""
        return {"code": self.code, "message": self.message}


class InvalidMessage(AetherError, code="invalid_message", http=400):
    """Untrusted input did not fit its schema; `path` names the offending part, such as `cpus`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "path": self.path} if self.path else super().to_json()


class NotAllowed(AetherError, code="not_allowed", http=403):
    """The request's Host or Origin is not one of ours."""


class RouteNotFound(AetherError, code="not_found", http=404):
    """No route has this path."""


class MachineNotFound(AetherError, code="machine_not_found", http=404, close=4404):
    """There is no machine with this id, or there is no longer."""


class SessionNotFound(AetherError, code="session_not_found", http=404):
    """The machine has no session with this id, or it has ended."""


class MethodNotAllowed(AetherError, code="method_not_allowed", http=405):
    """The path exists, the method does not."""


class MachineNotRunning(AetherError, code="machine_not_running", http=409, close=4409):
    """A terminal was asked for on a machine that does not run."""


class MachineStopped(AetherError, code="machine_stopped", http=409, close=4410):
    """The machine stopped under an open terminal."""


class SessionTaken(AetherError, code="session_taken", http=409, close=4411):
    """Another client opened the session; it is that one's now."""


class LimitExceeded(AetherError, code="limit_exceeded", http=429, close=4429):
    """One of our limits, or Fly's rate limit after retries."""


class ProviderError(AetherError, code="provider_error", http=502, close=4502):
    """Fly said no, was unreachable, or made no sense; `status` is Fly's HTTP status, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SshError(ProviderError, code="ssh_error"):
    """The machine's SSH server refused us, or showed a key that is not the machine's."""


class ShuttingDown(AetherError, code="shutting_down", http=503, close=1012):
    """The server is going down; come back when it is up again."""

    retry_s = 1.0


class ProviderTimeout(AetherError, code="provider_timeout", http=504, close=4504):
    """Fly, or the machine's SSH server, did not answer in time."""
