"""What an agent adds to a chat request: its prompts before the messages, its parameters where none were given.

Only what changes is read; messages and parameters stay the bytes that they were. Nothing is looked up or sent here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.errors import BadRequest
from broker.model import Persona

#: What no agent decides for its caller.
CALLERS_OWN = ("model", "messages", "stream")
#: Two names of one parameter, of which servers refuse to be given both.
_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

Fields = dict[str, msgspec.Raw]


def as_persona(body: bytes, persona: Persona) -> bytes:
    """The chat request with that persona. Raises BadRequest."""
    fields = read_fields(body)
    given = fields.keys() | {_SAME[name] for name in fields.keys() & _SAME.keys()}
    for name, value in merged(*persona.params).items():
        if name not in given:
            fields[name] = value
    if persona.prompts:
        messages = bytes(fields.get("messages", b"")).strip()
        if not messages.startswith(b"["):
            raise BadRequest("`messages` is missing, or no list.", param="messages")
        rest = messages[1:].lstrip()
        fields["messages"] = msgspec.Raw(b"[%s%s%s" % (*system_block(persona.prompts), b"" if rest == b"]" else b",", rest))
    return _encode(fields)


def read_fields(body: bytes) -> Fields:
    """A request's fields, their values as they came. Raises BadRequest."""
    try:
        return _fields(body)
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("The body is no JSON object, or nested too deeply.") from None


def messages_of(fields: Fields) -> list[msgspec.Raw]:
    """A request's messages, each as it came. Raises BadRequest."""
    try:
        return _list(fields.get("messages", b""))
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("`messages` is missing, or no list.", param="messages") from None


def system_block(prompts: Sequence[str]) -> list[bytes]:
    """The prompts as one system message, for many LLMs' templates take no second one; no message without prompts."""
    return [_encode({"role": "system", "content": "\n\n".join(prompts)})] if prompts else []


def merged(*layers: bytes | Fields) -> Fields:
    """Parameters of JSON objects, lowest first: of two for one parameter the later counts, also a null. Without what
    is the caller's own."""
    fields: Fields = {}
    for layer in layers:
        for name, value in (_fields(layer) if isinstance(layer, bytes) else layer).items():
            if name in CALLERS_OWN:
                continue
            fields.pop(_SAME.get(name, ""), None)
            fields[name] = value
    return fields


def request_body(fields: Fields, messages: Sequence[bytes | msgspec.Raw], *, streaming: bool) -> bytes:
    """A chat request's body. A stream is asked to tell its usage, unless ``fields`` say what it is to tell; for a whole
    answer servers refuse to be told."""
    body = {**fields, "messages": msgspec.Raw(b"[%s]" % b",".join(messages)), "stream": streaming}
    if streaming:
        body.setdefault("stream_options", {"include_usage": True})
    else:
        body.pop("stream_options", None)
    return _encode(body)
