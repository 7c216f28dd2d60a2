"""Embeddings in the form that was asked for: lists of numbers, or base64 of little-endian float32.

Backends know one form or both; SDKs ask for base64 unless told otherwise. An
answer that is in the right form already, or that is no embedding, stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import struct

import msgspec


def in_format(body: bytes, wanted: str) -> bytes:
    """The answer with its embeddings as ``wanted`` ("float" | "base64")."""
    try:
        answer = msgspec.json.decode(body)
        entries = answer["data"]
        changed = [_change(entry, wanted) for entry in entries]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, struct.error, binascii.Error):
        return body
    return msgspec.json.encode(answer) if any(changed) else body


def _change(entry: dict, wanted: str) -> bool:
    vector = entry["embedding"]
    if wanted == "base64" and isinstance(vector, list):
        entry["embedding"] = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return True
    if wanted == "float" and isinstance(vector, str):
        raw = base64.b64decode(vector, validate=True)
        entry["embedding"] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        return True
    return False
