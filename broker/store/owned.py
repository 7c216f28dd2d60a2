"""Pages of what an owner has, files or batches, by age. Nothing is decided here."""

from __future__ import annotations

from broker.errors import BadRequest

from .scripts import Scripts


async def page(
    scripts: Scripts, family: str, owner: str, *, after: str, limit: int, newest: bool, purpose: str = ""
) -> tuple[list[list[bytes]], bool]:
    """Rows, as fields and values, and whether there are more. ``family``: file, batch. Raises BadRequest for an ``after``
    that is none of the list's."""
    rows: list[list[bytes]] = []
    while True:
        state, *found = await scripts.run("owned_list", family, owner, after, limit - len(rows), int(newest), purpose)
        if state == b"unknown":
            raise BadRequest(f"`after` is the id of a {family} of this list.", param="after")
        after = found[0].decode()
        rows += found[1:]
        if state != b"on":
            return rows, state == b"more"
