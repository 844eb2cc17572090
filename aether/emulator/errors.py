"""Every deliberate error of the emulator (pure)."""

from typing import Any

Json = dict[str, Any]  # a JSON object: a record, a config, the body of an answer


class EmulatorError(Exception):
    """The emulator cannot start; the message says why and what to do."""


class RuntimeUnavailable(EmulatorError):
    """The runtime that was asked for does not work on this computer."""


class BootError(Exception):
    """The process of a machine cannot be started; the message becomes the error of the machine's exit event."""


class EngineError(Exception):
    """A command of a container engine failed; the message is its last line of output, or why there was none."""


class ApiError(Exception):
    """An answer that is not a success: its status, the text of `error`, and the body if that has other keys."""

    def __init__(self, status: int, message: str, body: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = {"error": message} if body is None else body


class TooManyRequests(ApiError):
    """429, and after how many seconds to try again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(429, "rate limit exceeded")
        self.retry_after_s = retry_after_s
