"""What one start was told: flags, then the environment, then the file. Read again on a reload.

It loads no HTTP client, and looks at no server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.backends.types import DEFAULT_URLS
from publisher.config.address import check_address, check_broker_address
from publisher.config.mistake import Mistake, Place
from publisher.config.values import BrokerAddress, Config, ConfigError, Pattern, Provider
from publisher.find.addresses import bare

TOKEN_FILE = "BROKER_TOKEN_FILE"


@dataclass(frozen=True, slots=True)
class Backend:
    """The one server of ``--backend`` and its flags."""

    url: str | None = None
    type: str | None = None
    model: str | None = None
    name: str | None = None
    slots: int | None = None

    @property
    def given(self) -> bool:
        return bool(self.url or self.type)

    def provider(self) -> Provider:
        kind = self.type or "openai"
        url = self.url or DEFAULT_URLS.get(kind)
        if not url:
            raise ConfigError(f"--type {kind} needs --backend, the server's address")
        if _wrong(url, check_address):
            raise ConfigError(f'--backend {bare(url)}: must be an address like "http://127.0.0.1:8000/v1"')
        if not self.model:
            raise ConfigError("--backend needs --model, the model's name at that server, or --model '*' for all")
        if any(character in self.model for character in "*?["):
            name = self.name or "{model}"
            if "{model}" not in name:
                raise ConfigError("--name must hold {model} when --model stands for many")
            return Provider(name=name, url=url, type=kind, patterns=(Pattern(self.model),), slots=self.slots)
        return Provider(name=self.name or self.model, url=url, model=self.model, type=kind, slots=self.slots)


@dataclass(frozen=True, slots=True)
class Told:
    path: Path | None
    broker: str | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_file: str | None = None
    proxy: str | None = None
    backend: Backend = Backend()

    @property
    def source(self) -> str:
        """What stands for this publisher where its session and its socket are kept."""
        if self.path is not None and not self.backend.given:
            return str(self.path.absolute())
        provider = self.backend.provider()
        return f"{provider.url} {provider.name}"

    def read(self) -> tuple[Config, tuple[Path, ...]]:
        """And the files that it was read from. Raises ``ConfigError``."""
        config, files = self._file()
        if self.backend.given:
            config = replace(config, providers=(self.backend.provider(),), agents=(), tools=(), unpublished=0)
        elif any((self.backend.model, self.backend.name, self.backend.slots)):
            raise ConfigError("--model, --name and --slots belong to --backend (or --type): give that too")
        # A file may hold a token and leave the address to the environment.
        config = replace(config, brokers=tuple(one for one in self._brokers(config.brokers) if one.url))
        for address in config.brokers:
            if wrong := _wrong(address.url, check_broker_address):
                raise ConfigError(f"broker {bare(address.url)}: {wrong}")
        return config, files

    def _file(self) -> tuple[Config, tuple[Path, ...]]:
        if self.path is None:
            return Config(), ()
        from publisher.config.file import read_config_and_files

        config, files = read_config_and_files(self.path)
        return config, (self.path, *files)

    def _brokers(self, written: tuple[BrokerAddress, ...]) -> tuple[BrokerAddress, ...]:
        token = self._token()
        if self.broker or len(written) == 1:
            one = written[0] if len(written) == 1 else BrokerAddress("")
            return (
                BrokerAddress(
                    self.broker or one.url, token or one.token, self.ca_file or one.ca_file, self.proxy or one.proxy
                ),
            )
        # Of several, each has its own words; what is said here fills gaps.
        return tuple(
            BrokerAddress(one.url, one.token or token, one.ca_file or self.ca_file, one.proxy or self.proxy)
            for one in written
        )

    def _token(self) -> str | None:
        file = self.token_file or os.environ.get(TOKEN_FILE)
        if self.token or not file:
            return self.token
        from publisher.config.secrets import secret_file

        return secret_file(file, TOKEN_FILE if self.token_file is None else "--token-file")


def _wrong(url: str, check: Callable[[str, Place], None]) -> str:
    """What is wrong with an address that no schema has seen, or nothing."""
    if not url.startswith(("http://", "https://")):
        return 'must be an address like "https://broker.example"'
    try:
        check(url, ())
    except Mistake as mistake:
        return mistake.text
    return ""
