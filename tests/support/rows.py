"""Rows that no HTTP call of the publisher protocol makes: public LLMs and public agents,
written straight into Redis with their indexes (broker/store/keys.py).
"""

from __future__ import annotations

import time
import uuid

from tests.support.places import Place


async def put_public_llm(place: Place, name: str, **fields: str) -> str:
    """Returns its id."""
    return await _put(place, "llm", name, {"type": "openai", "model": name, **fields})


async def put_public_agent(place: Place, name: str, llm: str) -> str:
    """An agent pinned to ``llm``. Returns its id."""
    row_id = await _put(place, "agent", name, {"llm": llm})
    await _write(place, "sadd", f"llm-agents:{llm}", name)
    return row_id


async def delete_public_agent(place: Place, name: str, llm: str) -> None:
    row = await place.read(f"agent:{name}")
    await _write(place, "delete", f"agent:{name}")
    await _write(place, "srem", "agents", name)
    await _write(place, "hdel", "agent-ids", row[b"id"])
    await _write(place, "srem", f"llm-agents:{llm}", name)


async def agent(place: Place, name: str) -> dict[str, str] | None:
    """An agent's hash as it is stored; None for one that is not there."""
    row = await place.read(f"agent:{name}")
    return {key.decode(): value.decode() for key, value in row.items()} if row else None


async def events(place: Place, *kinds: str) -> list[tuple[str, str]]:
    """(kind, name) of every event of those kinds, in order."""
    seen = [(fields[b"kind"].decode(), fields[b"name"].decode()) for _, fields in await place.read("events") or ()]
    return [event for event in seen if event[0] in kinds]


async def _put(place: Place, family: str, name: str, fields: dict[str, str]) -> str:
    row_id, now = str(uuid.uuid4()), str(int(time.time() * 1000))
    row = {
        "id": row_id, "name": name, "kind": "public", "status": "active", "owner": "admin", "version": "1",
        "createdAt": now, "updatedAt": now, **fields,
    }
    await _write(place, "hset", f"{family}:{name}", mapping=row)
    await _write(place, "sadd", f"{family}s", name)
    await _write(place, "hset", f"{family}-ids", row_id, name)
    return row_id


async def _write(place: Place, command: str, key: str, *args, **more) -> None:
    redis = place.redis()
    try:
        await getattr(redis, command)(f"rv:{{{place.namespace}}}:{key}", *args, **more)
    finally:
        await redis.aclose()
