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
from publisher.config.mistake import Mistake
from publisher.config.provider import provider_of, written_names
from publisher.config.schema import AgentEntry, ConfigFile
from publisher.config.secrets import Folder
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
    return Config(
        brokers=brokers,
        providers=tuple(provider for published, provider in providers if published),
        agents=tuple(_agent(entry) for entry in file.agents),
        unpublished=sum(not published for published, _ in providers),
    )


def _agent(entry: AgentEntry) -> wire.AgentEntry:
    given = {
        "description": entry.description,
        "system_prompt": entry.systemPrompt,
        "project": entry.project,
        "default_params": entry.defaultParams,
        "extras": entry.extras,
    }
    return wire.AgentEntry(entry.name, entry.llmName, **{k: v for k, v in given.items() if v is not None})
