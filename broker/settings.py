"""Every timer, limit and address of the broker, and the only reader of its environment.

Each setting is an environment variable, ``BROKER_`` and its name in capitals
(``BROKER_STALE_SECONDS``); flags come before it. ``REDIS_URL``, ``HOST`` and
``PORT`` go by those names, as hosting platforms set them. Nobody else gets this
object: parts are built with the values they need (``app.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_PLAIN = {"redis_url": "REDIS_URL", "host": "HOST", "port": "PORT"}
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class BadSettings(Exception):
    """A setting is not possible; the message names the variable and the fix."""


class Settings(BaseModel):
    """The broker's settings with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis_url: str = Field("", description="where Redis is; empty: the embedded server")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    namespace: str = Field("main", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="which keys in Redis are ours")
    auth: Literal["auto", "required"] = Field("auto", description="auto: open on loopback until the first token is made")
    adoption: Literal["owner", "any"] = Field("owner", description="who may adopt an inactive LLM's name")
    cors_origins: str = Field("", description="browser origins that may call, comma-separated; * for any")
    allowed_hosts: str = Field("", description="more Host names to answer to while open, comma-separated")
    secret_key: str = Field("", repr=False, description="what secrets are kept under: 32 bytes as base64; the first of several seals")
    upstream_allow: str = Field("", description="internal networks and hosts that public LLMs may be at, comma-separated")
    files_dir: str = Field("", description="folder for files, shared by all replicas; empty: beside the embedded server's data")
    webhook_allow: str = Field("", description="internal networks and hosts that webhooks may be at, comma-separated")
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    heartbeat_seconds: Seconds = Field(30, description="how often publishers are told to heartbeat")
    stale_seconds: Seconds = Field(90, description="no heartbeat for so long: inactive")
    expire_seconds: Seconds = Field(4 * 3600, description="inactive for so long: deleted")
    sweep_seconds: Seconds = Field(60, description="time between sweeps")
    reconnect_grace_seconds: float = Field(5, ge=0, allow_inf_nan=False, description="how long running tasks wait for a lost channel")
    accept_seconds: Seconds = Field(10, description="an unaccepted task is given again after so long")
    lease_grace_seconds: Seconds = Field(5, description="a slot is freed so long after its request's deadline")
    wake_limit_seconds: Seconds = Field(600, description="longest wake")
    queue_wait_seconds: Seconds = Field(60, description="longest wait for a free slot")
    deadline_seconds: Seconds = Field(600, description="longest request")
    idle_seconds: Seconds = Field(60, description="longest silence within an answer")
    pool_first_byte_seconds: Seconds = Field(180, description="longest silence of a pool's member before its first byte; then another is asked")
    comment_first_seconds: Seconds = Field(5, description="first comment line to a waiting stream")
    comment_every_seconds: Seconds = Field(15, description="time between further comment lines")
    channel_ping_seconds: Seconds = Field(10, description="time between comments on a publisher's channel")
    replica_ttl_seconds: Seconds = Field(5, description="a replica that is silent for so long is dead")
    tick_seconds: Seconds = Field(0.5, description="how often what is due is looked for")
    body_seconds: Seconds = Field(30, description="longest wait for a request's body")
    keepalive_seconds: Seconds = Field(75, description="how long an idle connection stays open; also the header deadline")
    resumable: Literal["asked", "always"] = Field("asked", description="which streams can be resumed: those that ask for it, or all")
    resume_seconds: Seconds = Field(60, description="how long a resumable stream goes on without a client, and is kept after its end")
    idempotency_seconds: Seconds = Field(86_400, description="how long an Idempotency-Key counts, and its answer is kept")
    response_seconds: Seconds = Field(7 * 86_400, description="how long stored responses are kept, each use anew")
    file_seconds: Seconds = Field(30 * 86_400, description="how long files are kept, and ended batches")
    result_seconds: Seconds = Field(86_400, description="how long a durable task and its result are kept after its end")
    job_retry_seconds: Seconds = Field(1, description="wait before a durable task's second attempt; twice that before the third")
    job_orphan_seconds: Seconds = Field(7 * 86_400, description="a durable task that nobody was there for so long to do is dead")
    job_poll_seconds: Seconds = Field(0.5, description="how often queues of durable tasks are looked at")
    webhook_retry_seconds: Seconds = Field(10, description="wait before a webhook's second try; each further one is four times as long")
    tool_seconds: Seconds = Field(30, description="longest call of a tool, where its server has no limit of its own")
    turn_events_seconds: Seconds = Field(900, description="how long the events of a turn can be followed after its end")
    shutdown_seconds: Seconds = Field(20, description="how long running requests may go on after SIGTERM")

    queue_length: Count = Field(1000, description="most requests that wait for one LLM")
    queue_bytes: Count = Field(64 << 20, description="most bytes of requests that wait for one LLM")
    jobs_queued: Count = Field(1_000_000, description="most durable tasks that are queued")
    job_attempts: Count = Field(3, description="attempts of a durable task before it is dead")
    job_upstream_calls: Count = Field(16, description="most durable tasks at once at a public LLM")
    job_request_bytes: Count = Field(4 << 20, description="largest request of a durable task")
    upstream_requests: Count = Field(1000, description="most calls to upstreams at once, by this replica")
    max_request_bytes: Count = Field(20 << 20, description="largest request body of a client")
    max_result_bytes: Count = Field(64 << 20, description="largest body of a publisher's results call")
    inline_request_bytes: Count = Field(1_000_000, description="larger requests reach publishers as requestUrl")
    batch_ahead: Count = Field(100, description="lines of a batch that are durable tasks at once")
    file_bytes: Count = Field(200 << 20, description="largest file")
    max_iterations: Annotated[int, Field(ge=1, le=32)] = Field(8, description="most answers of the LLM in one turn of an agent with tools")
    tool_result_bytes: Count = Field(256 << 10, description="most of a tool's result that an LLM gets; the rest is cut off")
    client_buffer_bytes: Count = Field(4 << 20, description="most bytes held for a client that reads slowly")

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ, **flags: object) -> Settings:
        """Settings from flags (those that are not None), then the environment. Raises BadSettings."""
        values = {}
        for name in cls.model_fields:
            text = environment.get(variable(name))
            if text is None and f"{variable(name)}_FILE" in environment:
                text = _secret(variable(name), environment[f"{variable(name)}_FILE"])
            if text:
                values[name] = text
        values |= {name: value for name, value in flags.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise BadSettings(f"{variable(name)}={values[name]!r}: {first['msg'].lower()}") from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _PLAIN.get(name, f"BROKER_{name.upper()}")


def _secret(name: str, path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError as error:
        raise BadSettings(f"{name}_FILE: cannot read {path} ({error.strerror})") from None
