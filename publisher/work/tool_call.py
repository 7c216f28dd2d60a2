"""One task for a tool server: the broker's request to it, its result back, as JSON.

What goes wrong at the server is an answer too, with a status and a reason that an LLM can read.
A cancelled task takes the call back at the server (``tools/tool_server.py``).
"""

from __future__ import annotations

import asyncio

import msgspec

from broker.wire import MCP, Frame
from publisher.activity import Request
from publisher.failures import TaskFailed
from publisher.link.backoff import Backoff
from publisher.link.client import Broker
from publisher.link.outgoing import Outgoing
from publisher.tools.failed import ToolFailed
from publisher.tools.tool_server import ToolServer
from publisher.work.infer import request_of

HEADERS = {"content-type": "application/json"}


async def call_tool(
    frame: Frame, server: ToolServer, out: Outgoing, told: Request, broker: Broker, retry: Backoff
) -> None:
    try:
        if frame.kind != "infer" or frame.operation != MCP:
            raise TaskFailed("a tool server only lists and calls its tools", "unsupported_operation")
        request = await request_of(frame, broker, retry)
        async with server.slots:
            told.started()
            body = await server.answer(request)
    except ToolFailed as err:
        told.ended(f"failed: {err}")
        out.answer(err.status, HEADERS, msgspec.json.encode({"error": {"message": err.told}}))
    except asyncio.CancelledError:
        told.ended("cancelled")
        raise
    except BaseException as err:
        told.ended(f"failed: {err}")
        raise
    else:
        told.block(0)
        told.ended("ok")
        out.answer(200, HEADERS, body)
