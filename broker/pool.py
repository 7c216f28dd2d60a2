"""A pool's row: LLMs, named or selected by what they are, that are asked by one name."""

from __future__ import annotations

import re

import msgspec

from broker.model import LLM, iso, unix_s


class Selector(msgspec.Struct, omit_defaults=True):
    """What an LLM is to be; what is left out does not matter. ``name``: with ``*`` and ``?``."""

    model: str | None = None
    tier: str | None = None
    kind: str | None = None
    name: str | None = None

    def fits(self, llm: LLM) -> bool:
        wanted = ((self.model, llm.model), (self.tier, llm.tier), (self.kind, llm.kind))
        return all(want in (None, has) for want, has in wanted) and (self.name is None or _glob(self.name, llm.name))


class Member(msgspec.Struct, omit_defaults=True):
    """An entry of a pool: an ``llm`` by its name, or all that a ``selector`` fits. ``tier`` 0 is asked first."""

    llm: str | None = None
    selector: Selector | None = None
    weight: float = 1
    tier: int = 0


class Pool(msgspec.Struct, rename="camel"):
    """A pool as ``GET /api/v1/pools`` shows it. ``affinity``: a conversation stays with the member that had it."""

    name: str
    description: str
    members: list[Member]
    affinity: bool
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str]) -> Pool:
        return cls(
            name=row["name"],
            description=row.get("description", ""),
            members=msgspec.json.decode(row["members"], type=list[Member]),
            affinity=row.get("affinity") != "0",
            owner_id=row.get("owner", ""),
            version=int(row["version"]),
            created_at=iso(row["createdAt"]) or "",
            updated_at=iso(row["updatedAt"]) or "",
        )

    @property
    def created_s(self) -> int:
        """Unix seconds of its creation, which OpenAI's model list wants."""
        return unix_s(self.created_at)

    def status_among(self, llms: list[LLM]) -> str:
        """As its most awake member's."""
        own = {llm.status for llm in llms if self.has(llm)}
        return next((status for status in ("active", "hibernating") if status in own), "inactive")

    def has(self, llm: LLM) -> bool:
        return any(one.llm == llm.name if one.selector is None else one.selector.fits(llm) for one in self.members)


def _glob(pattern: str, name: str) -> bool:
    """Whether a name fits, as the scripts have it (shared/members.lua): what stands between two ``*`` as early as it can be."""
    first, *others = (re.escape(piece).replace(r"\?", ".") for piece in pattern.split("*"))
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    return re.fullmatch(f"{first}{middle}.*{others[-1]}" if others else first, name) is not None
