"""How each type of upstream is asked, and how its answer is heard.

openai and ollama: the caller's bytes, with the row's model. anthropic: likewise where the
caller speaks its API, else said anew in both directions (``broker/dialects``). Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from yarl import URL

from broker import __version__
from broker.dialects.anthropic_answer import RefusedAnswer, TranslatedAnswer
from broker.dialects.anthropic_request import Untranslatable, asked_of
from broker.dialects.messages_native import NativeAnswer
from broker.dialects.response import Response
from broker.errors import BadRequest
from broker.model import Target
from broker.relay.call import Call, Words

TYPES = ("openai", "anthropic", "ollama")
PATHS = {"chat": "chat/completions", "completions": "completions", "embeddings": "embeddings"}
VERSION = "2023-06-01"  # of Anthropic's API, unless the caller names another
#: What Anthropic's API is asked in its own words.
NATIVE = {"messages": "v1/messages", "count_tokens": "v1/messages/count_tokens"}

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Question(NamedTuple):
    """One HTTP POST, and what makes its answer one for the caller."""

    url: URL
    headers: dict[str, str]
    body: bytes
    heard: Callable[[Response], Response]


def understands(target: Target, words: Words) -> bool:
    """Whether that upstream is asked in the caller's own language."""
    return target.type == "anthropic" and words.operation in NATIVE


def question(target: Target, call: Call, key: str) -> Question | Response:
    """What to ask; or an answer, where the type has no words for the call. Raises BadRequest."""
    body = _with_model(call.body, target.model)
    # Uncompressed: a compressed stream arrives in lumps.
    headers = {
        "Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": f"reveille/{__version__}",
        "Accept": "text/event-stream" if call.streaming else "application/json",
    }
    if target.type == "anthropic":
        return _anthropic(target, call, key, body, headers)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    endings = ("/v1", "/api") if target.type == "ollama" else ()
    path = PATHS[call.operation]
    return Question(_at(target.url, f"v1/{path}" if endings else path, endings), headers, body, lambda answer: answer)


def _anthropic(target: Target, call: Call, key: str, body: bytes, headers: dict[str, str]) -> Question | Response:
    headers["anthropic-version"] = VERSION
    if key:
        headers["x-api-key"] = key
    if call.native:
        at = _at(target.url, NATIVE[call.operation], ("/v1",))
        return Question(at, headers | call.words.headers, body, lambda answer: NativeAnswer(answer, call.streaming))
    if call.operation != "chat":
        raise BadRequest(f"{target.llm!r} is of type anthropic, which only chats: it has no {call.operation}.", param="model")
    try:
        asked = asked_of(body, call.streaming)
    except Untranslatable as why:
        return RefusedAnswer(why)
    return Question(
        _at(target.url, "v1/messages", ("/v1",)), headers, asked.body,
        lambda answer: TranslatedAnswer(answer, asked.include_usage),
    )


def _with_model(body: bytes, model: str) -> bytes:
    try:
        fields = _fields(body)
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("The body is nested too deeply.") from None
    fields["model"] = msgspec.Raw(_encode(model))
    return _encode(fields)


def _at(address: str, path: str, endings: tuple[str, ...]) -> URL:
    """``endings``: what people write after the server's root; the first that is there is taken off."""
    url = URL(address)
    root = url.raw_path.rstrip("/")
    root = next((root.removesuffix(end) for end in endings if root.endswith(end)), root)
    return url.with_path(f"{root}/{path}", encoded=True).with_query(url.query)
