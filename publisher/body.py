"""How a body is handed to the HTTP client: a large one piece by piece.

In one piece it would hold up every other task while it is copied to the socket;
the HTTP client warns of that from 1 MiB on.
"""

from __future__ import annotations

import io

LARGE_BYTES = 1 << 20


def sendable(data: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(data) if data is not None and len(data) > LARGE_BYTES else data
