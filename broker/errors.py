"""Refusals: everything that the broker answers instead of doing what was asked.

Each class has its HTTP status, its ``code`` and, as docstring, its default
message. They are raised where the decision is made and turned into the API's
error shape in one place (``http/middleware.py``); any other exception is a bug.
"""

from __future__ import annotations


class Refusal(Exception):
    """The request was refused."""

    status = 400
    code = "bad_request"
    retry_after_s: int | None = None
    should_retry: bool | None = None

    def __init__(self, message: str | None = None, *, param: str | None = None, retry_after_s: int | None = None):
        super().__init__(message or " ".join((self.__doc__ or "").split()))
        self.param = param
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def type(self) -> str:
        """OpenAI's word for the kind of error, which SDKs show."""
        if self.status == 401:
            return "authentication_error"
        if self.status == 403:
            return "permission_error"
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def shape(self) -> dict:
        return {"error": {"message": self.message, "type": self.type, "code": self.code, "param": self.param}}


class BadRequest(Refusal):
    """The request could not be understood."""

    code = "invalid_request"


class Unauthorized(Refusal):
    """Send a valid token as `Authorization: Bearer …`; `broker tokens create` makes one."""

    status = 401
    code = "invalid_token"


class Forbidden(Refusal):
    """This token's roles do not allow that."""

    status = 403
    code = "forbidden"


class WakeForbidden(Forbidden):
    """This LLM is asleep, and this token may not wake it."""

    code = "wake_forbidden"
    should_retry = False


class NotFound(Refusal):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class RequestTimeout(Refusal):
    """The request's body did not arrive in time."""

    status = 408
    code = "request_timeout"


class Conflict(Refusal):
    """That conflicts with what is there."""

    status = 409
    code = "conflict"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used for another request; a new request needs a new key."""

    code = "idempotency_mismatch"
    should_retry = False


class TooLarge(Refusal):
    """The request's body is too large."""

    status = 413
    code = "request_too_large"


class NoSecretKey(Conflict):
    """Secrets need a key to be kept under: set BROKER_SECRET_KEY, or BROKER_SECRET_KEY_FILE, to 32 random bytes
    as base64 (`openssl rand -base64 32`)."""

    code = "no_secret_key"


class Unprocessable(Refusal):
    """A value in the request is not one that is possible."""

    status = 422
    code = "invalid_value"


class QueueFull(Refusal):
    """Too many requests wait for this LLM; try again later."""

    status = 429
    code = "queue_full"
    retry_after_s = 1


class BackendFailed(Refusal):
    """The publisher's backend gave no usable answer."""

    status = 502
    code = "backend_error"


class MaxIterations(BackendFailed):
    """The LLM still called tools after as many answers as it was given."""

    code = "max_iterations"


class Unavailable(Refusal):
    """The service cannot do that right now; try again shortly."""

    status = 503
    code = "unavailable"
    retry_after_s = 2


class PublisherOffline(Unavailable):
    """publisher offline: nobody serves this LLM right now; try again when its publisher is back"""

    code = "publisher_offline"
    retry_after_s = 5


class AgentOffline(Unavailable):
    """agent offline: its publisher is away; try again when it is back"""

    code = "agent_offline"
    retry_after_s = 5


class AgentLLMMissing(Unavailable):
    """The LLM that this agent is pinned to is gone."""

    code = "agent_llm_missing"
    retry_after_s = 5


class QueueWaitExceeded(Unavailable):
    """The request waited too long for a free slot."""

    code = "queue_timeout"
    retry_after_s = 5


class StoreUnavailable(Unavailable):
    """The broker cannot reach its Redis right now; try again shortly."""

    code = "store_unavailable"


class DeadlineExceeded(Refusal):
    """The request was not answered before its deadline."""

    status = 504
    code = "deadline_exceeded"


class StalledStream(DeadlineExceeded):
    """The backend sent nothing for too long in the middle of its answer."""

    code = "stream_stalled"


class SlowClient(Refusal):
    """The client reads its stream too slowly; the request was cancelled."""

    status = 408
    code = "client_too_slow"


class Relayed(Refusal):
    """A refusal that was decided elsewhere: by a script, or by the publisher."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code
        if code in ("wake_failed", "wake_forbidden"):
            self.should_retry = False
        elif status in (429, 503):
            self.retry_after_s = 5
