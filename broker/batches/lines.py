"""A text's lines as they come off the disk, with their numbers; never more of it in memory than one line and one piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

#: A piece may have thousands of lines; others have their turn after so many.
_AT_ONCE = 100
_MARK = b"\xef\xbb\xbf"


async def lines(pieces: AsyncGenerator[bytes], longest: int, *, open_end: bool = True) -> AsyncGenerator[tuple[int, bytes | None]]:
    """(number, text) of every line that is not blank; the first is 1. A text of None: longer than ``longest`` bytes.
    ``open_end``: whether a last line without its line break counts. Closes the pieces with itself."""
    number, held, size = 1, [], 0
    async with aclosing(pieces):
        async for piece in pieces:
            *ends, rest = piece.split(b"\n")
            for index, end in enumerate(ends, start=1):
                if index % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                held.append(end)
                text = b"".join(held) if size + len(end) <= longest else None
                held, size = [], 0
                if (told := _told(number, text)) is not None:
                    yield told
                number += 1
            size += len(rest)
            if size <= longest:
                held.append(rest)
    text = b"".join(held) if size <= longest else None
    if size and open_end and (told := _told(number, text)) is not None:
        yield told


def _told(number: int, text: bytes | None) -> tuple[int, bytes | None] | None:
    if text is None:
        return number, None
    text = (text.removeprefix(_MARK) if number == 1 else text).strip()
    return (number, text) if text else None
