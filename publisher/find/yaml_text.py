"""The config file that ``publisher init`` writes: YAML, with half a line on each field.

A template of our own, because a YAML library writes no comments. It touches no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from publisher.config.values import Provider

#: What YAML does not take as it is, or takes for a line's end.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
COLUMN = 44

HEAD = """\
# What this publisher publishes, and at which broker. "publisher check" looks it over.
# ${NAME} in a value is read from the environment; what ends in File, from a file.
# An entry may say more, such as "slots: 4" for four requests at once, where the
# server does not tell how many it takes.
"""

NOTES = {
    "broker": "the broker's address",
    "tokenFile": "holds a publisher token of that broker",
    "name": "what clients ask for",
    "type": "openai, ollama, vllm, llamacpp, lmstudio or anthropic",
    "url": "where the server answers",
    "model": "what the server calls it",
    "publish": "false keeps the entry and publishes nothing",
    "apiKeyFile": "holds the key that the server wants",
    "wake": "loads the model when someone asks",
    "sleep": "unloads it",
    "idleSeconds": "asleep after so long without a request",
}


def yaml_text(
    broker: str, token_file: str | None, providers: Iterable[Provider], key_files: Mapping[str, str]
) -> str:
    """``key_files``: for the address of each server that wants a key."""
    lines = [HEAD, _line("", "broker", quoted(broker))]
    if token_file:
        lines.append(_line("", "tokenFile", quoted(token_file)))
    lines.append("\nproviders:")
    told: set[str] = set()
    for provider in providers:
        for number, (key, value) in enumerate(_fields(provider, key_files.get(provider.url))):
            note = "" if key in told else key  # each field is explained once
            told.add(key)
            lines.append(_line("  - " if number == 0 else "    ", key, value, note))
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _fields(provider: Provider, key_file: str | None) -> list[tuple[str, str]]:
    fields = [
        ("name", quoted(provider.name)), ("type", provider.type), ("url", quoted(provider.url)),
        ("model", quoted(provider.model)), ("publish", "true"),
    ]
    if key_file:
        fields.append(("apiKeyFile", quoted(key_file)))
    if provider.sleep:
        fields += [
            ("wake", "{type: native}"), ("sleep", "{type: native}"), ("idleSeconds", _number(provider.idle_s)),
        ]
    return fields


def quoted(text: str) -> str:
    """A JSON string, which is a YAML one as well; ``${`` stays what it is."""
    plain = json.dumps(text.replace("${", "$${"), ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", plain)


def _number(value: float | None) -> str:
    return str(int(value)) if value is not None and value == int(value) else str(value)


def _line(indent: str, key: str, value: str, note: str | None = None) -> str:
    line = f"{indent}{key}: {value}"
    told = NOTES.get(key if note is None else note, "")
    return f"{line:<{COLUMN}}  # {told}" if told else line
