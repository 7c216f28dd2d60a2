"""Whether a call's reply is to be kept, as its headers say: ``X-Resumable`` and ``Idempotency-Key``.

Of a key only a digest goes further, made with its owner, and of the request one of its path and body.
"""

from __future__ import annotations

import hashlib

from aiohttp import web

from broker.errors import Unprocessable
from broker.store.kept import Keep

from .context import LIMITS, PRINCIPAL

RESUMABLE, KEY = "X-Resumable", "Idempotency-Key"
_KEY_CHARS = 255


def keeping(request: web.Request, body: bytes, *, may_resume: bool) -> Keep | None:
    """How the reply to that request is kept; None: it is not. ``may_resume``: its events go out as they came. Raises
    Unprocessable."""
    keeping = request.app[LIMITS].keeping
    numbered = may_resume and (keeping.always or _wants_to_resume(request))
    key, fingerprint = key_of(request, body)
    if not key:
        return Keep(numbered=True, **_how(request, keeping.resume_s)) if numbered else None
    lasts_s = keeping.idempotency_s
    return Keep(
        numbered=numbered, idem=key, fingerprint=fingerprint, idem_ms=int(lasts_s * 1000), **_how(request, lasts_s),
    )


def key_of(request: web.Request, body: bytes) -> tuple[str, str]:
    """The digest of a request's Idempotency-Key with its owner, and that of the request; '' and '' without one. Raises
    Unprocessable."""
    key = request.headers.get(KEY)
    if key is None:
        return "", ""
    if not 0 < len(key) <= _KEY_CHARS:
        raise Unprocessable(f"{KEY} has from 1 to {_KEY_CHARS} characters.", param=KEY)
    owner = request[PRINCIPAL].owner.encode()
    return _digest(owner, key.encode("utf-8", "surrogateescape")), _digest(request.path.encode(), body)


def _how(request: web.Request, lasts_s: float) -> dict[str, int]:
    limits = request.app[LIMITS]
    return {
        "ttl_ms": int(max(lasts_s, limits.keeping.resume_s) * 1000), "room_bytes": limits.result_bytes,
        "grace_ms": max(1, int(limits.keeping.resume_s * 1000)),
    }


def _wants_to_resume(request: web.Request) -> bool:
    text = request.headers.get(RESUMABLE)
    if text is None:
        return False
    if text.lower() not in ("true", "false"):
        raise Unprocessable(f"{RESUMABLE} is `true` or `false`.", param=RESUMABLE)
    return text.lower() == "true"


def _digest(*pieces: bytes) -> str:
    """Of the pieces and where each ends."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(b"%d:%s" % (len(piece), piece))
    return digest.hexdigest()
