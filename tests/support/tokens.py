"""Tokens for a test, revoked at its end: they close every broker on that server, also the next test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

from tests.support.places import Place


@asynccontextmanager
async def tokens(place: Place, **roles: str) -> AsyncIterator[SimpleNamespace]:
    """``tokens(place, alice="publisher")`` is the token ``.alice`` of the owner ``alice``;
    ``"publisher of bob"`` is one of the owner ``bob``. ``ids`` has their ids by name."""
    store = place.open_store(place.settings())
    made = SimpleNamespace(ids={})
    try:
        for name, text in roles.items():
            role, _, owner = text.partition(" of ")
            made.ids[name], token = await store.tokens.create(name=name, roles=role.split("+"), owner=owner or name)
            setattr(made, name, token)
        yield made
    finally:
        for token_id in made.ids.values():
            await store.tokens.revoke(token_id)
        await store.close()


def bearer(token: str | None) -> dict[str, str]:
    """The header that carries a token; none for None."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}
