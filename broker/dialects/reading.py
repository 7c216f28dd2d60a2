"""Reads a client's request as the shape of a dialect, and says where it is not one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from broker.dialects.anthropic_request import Untranslatable

MOST_CHARACTERS = 300  # of a refusal, which may quote the request

_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
Shape = TypeVar("Shape")


def reader(kind: type[Shape]) -> Callable[[bytes], Shape]:
    """Reads requests of that shape. What it gives raises Untranslatable."""
    decode = msgspec.json.Decoder(kind).decode

    def read(request: bytes) -> Shape:
        try:
            request.decode()  # what stays as it is (schemas, inputs) is looked at by nobody else
            return decode(request)
        except RecursionError:
            raise Untranslatable("the request is nested too deeply", None, "invalid_request") from None
        except UnicodeDecodeError:
            raise Untranslatable("the request is not UTF-8", None, "invalid_request") from None
        except msgspec.MsgspecError as err:
            found = _PLACE.fullmatch(str(err))
            what, where = found.groups() if found else (str(err), None)
            text = f"{where}: {what}" if where else f"the request cannot be read: {what}"
            raise Untranslatable(text[:MOST_CHARACTERS], where, "invalid_request") from None

    return read
