"""What the caller of an agent with tools asks besides its messages: tools of its own, counts at a stream's end.

Read only; what cannot be done for it is refused here.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from broker.errors import BadRequest

from .block import Fields

Shape = TypeVar("Shape")


class _Function(Struct):
    name: str


class _Spec(Struct):
    function: _Function


class _StreamOptions(Struct):
    include_usage: bool | None = None


_specs = msgspec.json.Decoder(list[_Spec] | None)
_options = msgspec.json.Decoder(_StreamOptions | None)
_count = msgspec.json.Decoder(int | None)


def refuse_several(fields: Fields) -> None:
    """Raises BadRequest when several answers are asked for."""
    if _read(fields, "n", _count, "a number") not in (1, None):
        raise BadRequest("An agent with tools gives one answer: leave `n` out.", param="n")


def own_tools(fields: Fields) -> list[str]:
    """The names of the caller's own tools. Raises BadRequest."""
    specs = _read(fields, "tools", _specs, "a list of tools of the type `function`, each with a `function.name`")
    return [spec.function.name for spec in specs or ()]


def wants_usage(fields: Fields) -> bool:
    """Whether a stream is to end with its counts. Raises BadRequest."""
    options = _read(fields, "stream_options", _options, "an object")
    return bool(options and options.include_usage)


def _read(fields: Fields, name: str, decoder: msgspec.json.Decoder[Shape], what: str) -> Shape:
    try:
        return decoder.decode(fields.get(name, Raw(b"null")))
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest(f"`{name}` is {what}.", param=name) from None
