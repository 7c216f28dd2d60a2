"""What handlers find in the application, by typed keys. No handler reads a setting by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from broker.batches.runner import Runner
from broker.chat.following import Following
from broker.chat.turns import Turns
from broker.folder import Folder
from broker.metrics import Metrics
from broker.relay.durable import Durable
from broker.relay.exchange import Patience
from broker.relay.post import Post
from broker.relay.relay import Relay
from broker.store import Store
from broker.store.tokens import Principal
from broker.tools.toolbox import Toolboxes
from broker.upstream.caller import Upstreams
from broker.upstream.hooks import Hooks
from broker.vault import Vault

from .auth import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long replies are kept, in seconds, and whether all streams are (``always``) or those that ask for it."""

    resume_s: float
    idempotency_s: float
    always: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one HTTP exchange may take: bytes, and seconds."""

    request_bytes: int
    result_bytes: int
    body_s: float
    heartbeat_s: float
    channel_ping_s: float
    comment_first_s: float
    comment_every_s: float
    response_s: float
    file_s: float
    file_bytes: int
    job_bytes: int
    max_iterations: int
    patience: Patience
    keeping: Keeping
    pool_first_byte_s: float


BATCHES: web.AppKey[Runner] = web.AppKey("batches", Runner)
STORE: web.AppKey[Store] = web.AppKey("store", Store)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)
UPSTREAMS: web.AppKey[Upstreams] = web.AppKey("upstreams", Upstreams)
DURABLE: web.AppKey[Durable] = web.AppKey("durable", Durable)
HOOKS: web.AppKey[Hooks] = web.AppKey("hooks", Hooks)
TOOLBOXES: web.AppKey[Toolboxes] = web.AppKey("toolboxes", Toolboxes)
TURNS: web.AppKey[Turns] = web.AppKey("turns", Turns)
FOLLOWING: web.AppKey[Following] = web.AppKey("following", Following)
VAULT: web.AppKey[Vault] = web.AppKey("vault", Vault)
FOLDER: web.AppKey[Folder] = web.AppKey("folder", Folder)
POST: web.AppKey[Post] = web.AppKey("post", Post)
DOOR: web.AppKey[Door] = web.AppKey("door", Door)
LIMITS: web.AppKey[Limits] = web.AppKey("limits", Limits)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
#: The route table, for the document that describes it.
TABLE: web.AppKey[tuple] = web.AppKey("table", tuple)
DRAINING: web.AppKey[list] = web.AppKey("draining", list)

#: What the middleware knows of a request, for its handler.
ID: web.RequestKey[str] = web.RequestKey("id", str)
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
#: Of one that had to wait in line: its place there on arrival, and the seconds that this was expected to take.
PLACE: web.RequestKey[tuple] = web.RequestKey("place", tuple)
#: What is still to be done when its stream has been said to the end, before the last bytes go out.
BEFORE_END: web.RequestKey[Callable] = web.RequestKey("before_end", Callable)
#: Headers of ours that its answer gets.
MARKS: web.RequestKey[dict] = web.RequestKey("marks", dict)
