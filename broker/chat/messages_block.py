"""What an agent adds to a request of Anthropic's Messages API: its prompts before the system's words, its parameters
where none were given.

Only what changes is read; all else stays the bytes that it was. Nothing is looked up or sent here.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from broker.dialects.anthropic_request import parameters_of
from broker.errors import BadRequest
from broker.model import Persona

from .block import merged, read_fields

#: What a count of tokens can be asked with, of all that an agent may add.
COUNTED = ("system", "tools", "tool_choice", "output_config")

_encode = msgspec.json.Encoder().encode


def as_persona(body: bytes, persona: Persona, only: Container[str] | None = None) -> bytes:
    """The request with that persona; ``only``: the fields that it may add. Raises BadRequest, and Untranslatable for
    a parameter of the agent that the API has no words for."""
    fields: dict[str, object] = read_fields(body)
    for name, value in parameters_of(merged(*persona.params)).items():
        if name in fields or (only is not None and name not in only):
            continue
        if name == "tool_choice" and "tools" not in fields:
            continue
        fields[name] = value
    if persona.prompts:
        fields["system"] = _system("\n\n".join(persona.prompts), bytes(fields.get("system", b"")).strip())
    return _encode(fields)


def _system(prompts: str, given: bytes) -> str | msgspec.Raw:
    """The prompts, and after them what the caller said, as it came."""
    if given in (b"", b"null", b'""'):
        return prompts
    block = _encode({"type": "text", "text": prompts})
    if given.startswith(b'"'):
        return msgspec.Raw(b'[%s,{"type":"text","text":%s}]' % (block, given))
    if given.startswith(b"["):
        rest = given[1:].lstrip()
        return msgspec.Raw(b"[%s%s%s" % (block, b"" if rest == b"]" else b",", rest))
    raise BadRequest("`system` is a text, or a list of text blocks.", param="system")
