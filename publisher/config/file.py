"""Reads the file in which people say what they publish: ``publisher.json`` or ``publisher.yaml``.

Every complaint names file, line, entry and field, and says what would be right. It
never prints a value: values may be secrets. Nothing is asked of any server.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from broker import wire
from publisher.config.broker import brokers_of
from publisher.config.document import Document
from publisher.config.mistake import Mistake, Place
from publisher.config.provider import provider_of, written_names
from publisher.config.schema import AgentEntry, ConfigFile
from publisher.config.secrets import Folder
from publisher.config.tool import tool_server_of
from publisher.config.twins import refuse_twins
from publisher.config.values import Config, ConfigError
from publisher.config.variables import filled


def read_config(path: Path) -> Config:
    """The published part of a config file; ``ConfigError`` when it cannot be used."""
    return read_config_and_files(path)[0]


def read_config_and_files(path: Path) -> tuple[Config, tuple[Path, ...]]:
    """The same, and the other files that belong to it: those of tokens, keys and authorities."""
    document = Document(path)
    folder = Folder(path.absolute().parent)
    try:
        return _config(_shaped(filled(document.value())), folder), tuple(folder.files)
    except Mistake as mistake:
        raise ConfigError(document.told(mistake)) from None


def _shaped(value: object) -> ConfigFile:
    try:
        # Not strict, so that "${SLOTS}" can be a number.
        return msgspec.convert(value, ConfigFile, strict=False)
    except msgspec.ValidationError as err:
        from publisher.config.complaint import mistake_of

        raise mistake_of(err, value) from None


def _config(file: ConfigFile, folder: Folder) -> Config:
    brokers = brokers_of(file, folder)
    providers = [(entry.publish, provider_of(entry, ("providers", n), folder)) for n, entry in enumerate(file.providers)]
    refuse_twins([named for n, entry in enumerate(file.providers) for named in written_names(entry, ("providers", n))])
    refuse_twins([(("agents", n, "name"), agent.name) for n, agent in enumerate(file.agents)])
    tools = [(entry.publish, tool_server_of(entry, ("tools", n), folder)) for n, entry in enumerate(file.tools)]
    refuse_twins([(("tools", n, "name"), tool.name) for n, tool in enumerate(file.tools)])
    return Config(
        brokers=brokers,
        providers=tuple(provider for published, provider in providers if published),
        agents=tuple(_agent(entry, ("agents", n)) for n, entry in enumerate(file.agents)),
        unpublished=sum(not published for published, _ in (*providers, *tools)),
        tools=tuple(tool for published, tool in tools if published),
    )


def _agent(entry: AgentEntry, at: Place) -> wire.AgentEntry:
    if entry.llmName is None and entry.model is None:
        raise Mistake((*at, "llmName"), "is missing: an agent needs an LLM that answers, or a model")
    if entry.llmName is not None and entry.model is not None:
        raise Mistake((*at, "model"), "stands beside llmName: only one of them can count")
    given = {
        "llm_name": entry.llmName,
        "model": entry.model,
        "description": entry.description,
        "system_prompt": entry.systemPrompt,
        "project": entry.project,
        "default_params": entry.defaultParams,
        "extras": entry.extras,
    }
    return wire.AgentEntry(entry.name, **{k: v for k, v in given.items() if v is not None})
