"""Writes config files for tests, and reads them: what comes of them, or the complaint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from publisher.config.file import read_config
from publisher.config.values import Config, ConfigError, Provider

PROVIDER = {"name": "a", "publish": True, "url": "http://127.0.0.1:8000/v1"}
SHUT = {"type": "command", "command": "/bin/stop"}


def write(folder: Path, written: object, name: str = "publisher.json") -> Path:
    """Texts as they are; everything else as JSON on one line."""
    path = folder / name
    path.write_text(written if isinstance(written, str) else json.dumps(written), encoding="utf-8")
    return path


def read(folder: Path, written: object, name: str = "publisher.json") -> Config:
    return read_config(write(folder, written, name))


def provider(folder: Path, **fields) -> Provider:
    """The one provider of a file, with those fields besides the usual ones."""
    return read(folder, {"providers": [PROVIDER | fields]}).providers[0]


def complaint(folder: Path, written: object, name: str = "publisher.json") -> str:
    with pytest.raises(ConfigError) as told:
        read(folder, written, name)
    return str(told.value)


def refusal(folder: Path, **fields) -> str:
    """What is said of one provider with those fields, from its name on."""
    said = complaint(folder, {"providers": [PROVIDER | fields]})
    assert said.startswith('publisher.json:1: providers[0] ("a"): ')
    return said.removeprefix('publisher.json:1: providers[0] ("a"): ')
