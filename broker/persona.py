"""An agent's persona laid over a chat request: its system prompt before the messages, its parameters where the
caller gave none.

Only what it changes is read; the rest of the body stays byte for byte. Nothing is looked up or sent here.
"""

from __future__ import annotations

import msgspec

from broker.errors import BadRequest
from broker.model import Persona

#: What no agent decides for its caller.
CALLERS_OWN = ("model", "messages", "stream")
#: Two names of one parameter, of which servers refuse to be given both.
_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def as_persona(body: bytes, persona: Persona) -> bytes:
    """The chat request with that persona. Raises BadRequest."""
    try:
        fields = _fields(body)
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("The body is nested too deeply.") from None
    given = fields.keys() | {_SAME[name] for name in fields.keys() & _SAME.keys()}
    for name, value in _fields(persona.params).items():
        if name not in given and name not in CALLERS_OWN:
            fields[name] = value
    if persona.system_prompt:
        messages = bytes(fields.get("messages", b"")).strip()
        if not messages.startswith(b"["):
            raise BadRequest("`messages` is missing, or no list.", param="messages")
        rest = messages[1:].lstrip()
        prompt = _encode({"role": "system", "content": persona.system_prompt})
        fields["messages"] = msgspec.Raw(b"[%s%s%s" % (prompt, b"" if rest == b"]" else b",", rest))
    return _encode(fields)
