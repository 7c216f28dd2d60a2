"""The shape of ``publisher.json``: its fields, what each may be, what it means.

Field names are those of the file. Nothing is read here and no message made,
except what a single value can be told; see ``config_file.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pydantic
from pydantic import BeforeValidator, Field

from broker import wire
from publisher.config import CommandRecipe, Config, HttpRecipe, Provider


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _web_address(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError('must be an address like "http://127.0.0.1:8000/v1"')
    return value


def _name(value: str) -> str:
    if not 1 <= len(value) <= 128 or value.startswith("_") or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError('must have 1 to 128 characters, none of them a control character, and not start with "_"')
    return value


Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False)]
Slots = Annotated[int, BeforeValidator(_no_bool), Field(gt=0)]
Address = Annotated[str, pydantic.AfterValidator(_web_address)]
Name = Annotated[str, pydantic.AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1)]


class _Entry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class HttpSleep(_Entry):
    type: Literal["http"]
    url: Address
    method: Literal["GET", "POST"] = "POST"
    headers: dict[str, str] = {}
    body: str = ""

    def value(self) -> HttpRecipe:
        return HttpRecipe(self.url, self.method, self.headers, self.body)


class CommandSleep(_Entry):
    type: Literal["command"]
    command: Text
    args: list[str] = []
    timeoutSeconds: Seconds = 120.0

    def value(self) -> CommandRecipe:
        return CommandRecipe(self.command, tuple(self.args), self.timeoutSeconds)


class HttpWake(HttpSleep):
    maxWaitSeconds: Seconds = 60.0


class CommandWake(CommandSleep):
    maxWaitSeconds: Seconds = 60.0


class ProviderEntry(_Entry):
    name: Name
    type: Literal["openai"] = "openai"
    model: Text | None = None
    publish: bool = False
    url: Address
    apiKey: str | None = None
    slots: Slots = 1
    tier: Literal["fast", "heavy"] | None = None
    description: str | None = None
    extraConfig: dict | None = None
    wake: Annotated[HttpWake | CommandWake, Field(discriminator="type")] | None = None
    sleep: Annotated[HttpSleep | CommandSleep, Field(discriminator="type")] | None = None

    def value(self) -> Provider:
        return Provider(
            name=self.name,
            url=self.url,
            model=self.model or self.name,
            type=self.type,
            api_key=self.apiKey,
            slots=self.slots,
            tier=self.tier,
            description=self.description,
            extra_config=self.extraConfig,
            wake=self.wake.value() if self.wake else None,
            max_wait_s=self.wake.maxWaitSeconds if self.wake else 60.0,
            sleep=self.sleep.value() if self.sleep else None,
        )


class AgentEntry(_Entry):
    name: Name
    llmName: Name
    description: str | None = None
    systemPrompt: str | None = None
    project: str | None = None
    defaultParams: dict | None = None
    extras: dict | None = None

    def value(self) -> wire.AgentEntry:
        given = {
            "description": self.description,
            "system_prompt": self.systemPrompt,
            "project": self.project,
            "default_params": self.defaultParams,
            "extras": self.extras,
        }
        return wire.AgentEntry(self.name, self.llmName, **{k: v for k, v in given.items() if v is not None})


class File(_Entry):
    broker: Address | None = None
    token: str | None = None
    providers: list[ProviderEntry] = []
    agents: list[AgentEntry] = []

    def value(self) -> Config:
        return Config(
            broker=self.broker,
            token=self.token,
            providers=tuple(p.value() for p in self.providers if p.publish),
            agents=tuple(a.value() for a in self.agents),
        )
