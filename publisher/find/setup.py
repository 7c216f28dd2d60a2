"""``publisher init``: what to ask, what to take for granted, and what to say at the end.

With somebody at the terminal it asks; else it takes flags and defaults and never
asks. A broker that is away is told and no hindrance.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher.config.values import BrokerAddress, ConfigError, Provider
from publisher.find.addresses import bare, checked, checked_broker, root_of
from publisher.find.asking import Ask, Terminal
from publisher.find.at_broker import Reception, ask_broker
from publisher.find.choice import Row, providers, rows, sleeping
from publisher.find.detect import look, look_at
from publisher.find.found import Found, Sight, shown
from publisher.find.listing import nothing, table
from publisher.find.new_file import check_free, secret_in, write_new
from publisher.find.offer import DEFAULT_BROKER, choose
from publisher.find.place import default_config
from publisher.find.wishes import Wishes, named_rows
from publisher.find.yaml_text import yaml_text
from publisher.terminal.typed import typed

IDLE_MINUTES = 15
#: Types of which some servers can unload a model by themselves.
NATIVE = ("ollama", "vllm", "llamacpp", "lmstudio")


class NothingToPublish(ConfigError):
    """Nothing that was written is wrong: there is just no server."""


@dataclass
class Setup:
    """``ask`` is ``None`` when nobody is there, or wants to be asked. Raises ``ConfigError``."""

    path: Path
    wishes: Wishes
    force: bool
    ask: Ask | None
    say: Callable[[str], None] = field(default_factory=lambda: Terminal().tell)
    secrets: dict[Path, str] = field(default_factory=dict)
    key_files: dict[str, str] = field(default_factory=dict)  # by the server's address

    def run(self) -> None:
        check_free(self.path, self.force)
        sight = Sight() if self.wishes.servers else self._look()
        broker, token_file = self._broker(sight)
        found = self._unlocked(sight.found)
        chosen = self._chosen(found, sight)
        published = self._sleeping(chosen, found)
        write_new(self.path, yaml_text(broker, token_file, published, self.key_files), self.secrets, self.force)
        self._farewell(published, broker)

    def _look(self) -> Sight:
        self.say("Looking for LLM servers on this machine …")
        sight = asyncio.run(look())
        for line in table(sight.found) if sight.found else ():
            self.say(line)
        return sight

    # ── the broker ──────────────────────────────────────────────────────────

    def _broker(self, sight: Sight) -> tuple[str, str | None]:
        """Its address, and the file of its token."""
        token = self.wishes.token
        url = self.wishes.broker
        while True:
            if url is None:
                url = self._asked_for_broker(sight)
            try:
                address = BrokerAddress(checked_broker(url), token)
            except ConfigError as err:
                if self.ask is None or self.wishes.broker:
                    raise
                self.say(str(err))
                url = None
                continue
            reception = asyncio.run(ask_broker(address))
            if self.ask and reception.wants_token and not self.wishes.token_file:
                self.say(reception.trouble)
                if token := self.ask.text("Token (not shown; empty: later)", default="", hidden=True) or None:
                    continue
            if self._accepted(reception, address.url):
                return address.url, self._token_file(token)
            url, token = None, self.wishes.token  # one broker's token is not shown to another

    def _asked_for_broker(self, sight: Sight) -> str:
        if self.ask:
            return self.ask.text("Broker address", default=(sight.brokers or [DEFAULT_BROKER])[0])
        if sight.brokers:
            return sight.brokers[0]
        raise ConfigError("no broker: give --broker or BROKER_URL")

    def _accepted(self, reception: Reception, url: str) -> bool:
        """Whether to go on with that broker."""
        if not reception.trouble:
            self.say(f"{bare(url)} is a Reveille broker.")
            return True
        if self.ask is None:
            self.say(f"warning: {reception.trouble}")
            return True
        if reception.wants_token and not self.wishes.token_file:
            return True  # told already, and the token may come later
        self.say(reception.trouble)
        return self.wishes.broker is not None or self.ask.yes("Use it all the same?", False)

    def _token_file(self, token: str | None) -> str | None:
        if self.wishes.token_file:
            return str(self.wishes.token_file.absolute())
        return self._secret("token", token) if token else None

    def _secret(self, ending: str, text: str) -> str:
        """Kept in a file beside the config; the name that the config calls it by."""
        place = self.path.with_name(f"{self.path.stem}.{ending}")
        check_free(place, self.force)
        self.secrets[place] = text
        return place.name

    # ── what is published ───────────────────────────────────────────────────

    def _unlocked(self, found: Sequence[Found]) -> list[Found]:
        """Those that want a key, with it if the person has it."""
        opened = []
        for one in found:
            while self.ask and one.needs_key:
                whose = f"Key of {shown(one.server)} at {one.url}"
                key = self.ask.text(f"{whose} (not shown; empty: leave it out)", default="", hidden=True)
                if not key:
                    break
                now = asyncio.run(look_at(one.url, key))
                if now is None or now.needs_key:
                    self.say("That key was refused.")
                    continue
                one = now
                place = re.sub(r"[^A-Za-z0-9.]+", "-", root_of(one.url).partition("://")[2]).strip("-")
                self.key_files[one.url] = self._secret(f"{place}.key", key)
            if one.needs_key:
                self.say(f"{one.url} wants a key and is left out: write it into the file with apiKeyFile")
            opened.append(one)
        return opened

    def _chosen(self, found: Sequence[Found], sight: Sight) -> tuple[Provider, ...]:
        if self.wishes.servers:
            chosen, names = named_rows(self.wishes.servers, self._key())
            published = providers(chosen, names)
            if self.wishes.api_key_file:
                self.key_files |= {one.url: str(self.wishes.api_key_file.absolute()) for one in published}
            return published
        there = rows(found) or self._written()
        if not there:
            raise NothingToPublish(f"nothing to publish: {nothing(sight)}")
        return providers(choose(there, self.ask) if self.ask and len(there) > 1 else there)

    def _key(self) -> str | None:
        return secret_in(self.wishes.api_key_file) if self.wishes.api_key_file else None

    def _written(self) -> list[Row]:
        """A server that nobody found, by its address."""
        while self.ask:
            url = self.ask.text("Address of an LLM server, such as http://10.0.0.5:8000/v1 (empty: stop)", default="")
            if not url:
                break
            try:
                found = asyncio.run(look_at(checked(url)))
            except ConfigError as err:
                self.say(str(err))
                continue
            if found and rows([found]):
                return rows([found])
            model = self.ask.text("It tells no models now. The model's name there (empty: another address)", default="")
            if model:
                return [(found or Found("openai", "", checked(url)), model)]
        return []

    def _sleeping(self, chosen: tuple[Provider, ...], found: Sequence[Found]) -> tuple[Provider, ...]:
        """With the way to sleep that the server itself has, where that is wanted."""
        idle_s = self.wishes.idle_s
        native = {one.url for one in found if one.native}
        able = [one for one in chosen if (one.type in NATIVE if self.wishes.servers else one.url in native)]
        if able and self.ask and idle_s is None:
            names = ", ".join(shown(one.name, 40) for one in able[:4]) + (" …" if len(able) > 4 else "")
            if self.ask.yes(f"May idle models be unloaded, and loaded when someone asks ({names})?", False):
                idle_s = self._minutes() * 60
        if idle_s and len(able) < len(chosen):
            other = next(one for one in chosen if one not in able)
            self.say(f'"{shown(other.name)}" stays loaded: its server has no way of its own to unload it')
        return tuple(sleeping(one, idle_s) if idle_s and one in able else one for one in chosen)

    def _minutes(self) -> float:
        while True:
            try:
                minutes = float(self.ask.text("After how many idle minutes?", default=str(IDLE_MINUTES)))
                if 0 < minutes < 1e6:
                    return minutes
            except ValueError:
                pass
            self.say("Write a number of minutes, such as 15.")

    def _farewell(self, published: Sequence[Provider], broker: str) -> None:
        names = ", ".join(shown(one.name, 40) for one in published[:8]) + (" …" if len(published) > 8 else "")
        self.say(f"\nWrote {self.path}: {names} at {bare(broker)}.")
        more = "" if default_config() == self.path else f" --config {typed(self.path)}"
        self.say("Next:")
        self.say(f"  publisher check{more}            looks it over")
        self.say(f"  publisher run{more}              publishes")
        self.say(f"  publisher service install{more}  publishes whenever this machine is on")
