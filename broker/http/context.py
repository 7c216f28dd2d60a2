"""What handlers find in the application, by typed keys. No handler reads a setting by itself."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from broker.chat.following import Following
from broker.chat.turns import Turns
from broker.metrics import Metrics
from broker.relay.exchange import Patience
from broker.relay.post import Post
from broker.relay.relay import Relay
from broker.store import Store
from broker.store.tokens import Principal
from broker.tools.toolbox import Toolboxes
from broker.upstream.caller import Upstreams
from broker.vault import Vault

from .auth import Door


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
    max_iterations: int
    patience: Patience


STORE: web.AppKey[Store] = web.AppKey("store", Store)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)
UPSTREAMS: web.AppKey[Upstreams] = web.AppKey("upstreams", Upstreams)
TOOLBOXES: web.AppKey[Toolboxes] = web.AppKey("toolboxes", Toolboxes)
TURNS: web.AppKey[Turns] = web.AppKey("turns", Turns)
FOLLOWING: web.AppKey[Following] = web.AppKey("following", Following)
VAULT: web.AppKey[Vault] = web.AppKey("vault", Vault)
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
