"""The frame by which a publisher is given a request, up to the milliseconds that are left, which are said when it leaves.

In two halves around the LLM's name, for who answers for a pool is known only when it is given out. Bytes in, bytes out.
"""

from __future__ import annotations

import msgspec

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def head(task: str) -> bytes:
    """Up to the LLM's name."""
    return b'{"kind":"infer","taskId":"%s","llmName":' % task.encode()


def named(llm: str) -> bytes:
    return msgspec.json.encode(llm)


def tail(task: str, operation: str, streaming: bool, body: bytes, inline_bytes: int, *, start: bytes = b"") -> tuple[bytes, bytes]:
    """From the LLM's name to ``"deadlineMs":``, after that ``start``; and the body, if it is too large to be in the frame."""
    start += b',"operation":"%s","streaming":%s' % (operation.encode(), b"true" if streaming else b"false")
    if len(body) > inline_bytes:
        url = f"/api/v1/llms/_provider-task/{task}/request"
        return b'%s,"requestUrl":"%s","deadlineMs":' % (start, url.encode()), body
    # JSON has line breaks only between tokens; on an SSE data line they must be spaces.
    return b'%s,"request":%s,"deadlineMs":' % (start, body.translate(_ONE_LINE)), b""
