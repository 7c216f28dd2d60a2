"""What a publisher is told to publish, as plain values.

Filled from the command line or by ``config_file.py``. It reads no file and no
environment, and it stays free of pydantic so that a start without a config file
does not pay for loading it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker import wire


class ConfigError(Exception):
    """Something a person wrote cannot be used; the message says where and how to fix it."""


@dataclass(frozen=True, slots=True)
class HttpRecipe:
    url: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class CommandRecipe:
    command: str
    args: tuple[str, ...] = ()
    timeout_s: float = 120.0


Recipe = HttpRecipe | CommandRecipe


@dataclass(frozen=True, slots=True)
class Provider:
    """One LLM server. Optional texts are ``None`` when left out: the broker then keeps its own."""

    name: str
    url: str
    model: str
    type: str = "openai"
    api_key: str | None = field(default=None, repr=False)
    slots: int = 1
    tier: str | None = None
    description: str | None = None
    extra_config: dict | None = None
    wake: Recipe | None = None
    max_wait_s: float = 60.0
    sleep: Recipe | None = None

    def entry(self, status: str) -> wire.ProviderEntry:
        """This provider as it is registered: what stays local is not in it."""
        entry = wire.ProviderEntry(
            name=self.name, type=self.type, model=self.model, slots=self.slots, initial_status=status
        )
        if self.tier is not None:
            entry.tier = self.tier
        if self.description is not None:
            entry.description = self.description
        if self.extra_config is not None:
            entry.extra_config = self.extra_config
        return entry


@dataclass(frozen=True, slots=True)
class Config:
    """``providers`` holds the published ones only."""

    broker: str | None = None
    token: str | None = field(default=None, repr=False)
    providers: tuple[Provider, ...] = ()
    agents: tuple[wire.AgentEntry, ...] = ()
