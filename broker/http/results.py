"""What publishers say of their tasks: single frames, many frames, "I have it"."""

from __future__ import annotations

import msgspec
from aiohttp import web

from broker.errors import BadRequest, Conflict, Unprocessable
from broker.relay.inbound import BadFrame, items
from broker.unknown import UnknownTask
from broker.wire import FrameAnswer, Result, ResultsAnswer

from .bodies import decode, describe, read_body, reply
from .context import LIMITS, METRICS, PRINCIPAL, RELAY
from .provider import session_named

_RESULT = msgspec.json.Decoder(Result)
_FRAMES = 2000


async def results(request: web.Request) -> web.Response:
    """``_provider-results``: NDJSON in, one answer per line out, in order."""
    body = await _body(request)
    sid = session_named(request, None)
    frames = _lines(body)
    answers = await _apply(request, sid, frames)
    return reply(ResultsAnswer(answers))


async def result(request: web.Request) -> web.Response:
    """``_provider-task/<taskId>/result``: one frame."""
    body = await _body(request)
    sid = _session(request, body)
    frame = decode(body, Result)
    frame.task_id = request.match_info["task"]
    frames: list[Result | BadFrame] = [frame]
    answer = (await _apply(request, sid, frames))[0]
    if answer.status == 422:
        raise Unprocessable(str(frames[0]))
    if answer.status == 404:
        raise UnknownTask()
    if answer.status == 409:
        refusal = reply({**Conflict("Frames are missing before this one.").shape(), "expected": answer.expected}, 409)
        return refusal
    return reply({"ok": True, "cancelled": answer.cancelled})


async def accept(request: web.Request) -> web.Response:
    """``_provider-task/<taskId>/accept``."""
    body = await _body(request)
    sid = _session(request, body) if body else session_named(request, None)
    answer = (await _apply(request, sid, [Result(task_id=request.match_info["task"], accept=True)]))[0]
    if answer.status == 404:
        raise UnknownTask()
    return reply({"ok": True, "cancelled": answer.cancelled})


class _Named(msgspec.Struct, rename="camel"):
    provider_session_id: str | None = None


def _session(request: web.Request, body: bytes) -> str:
    return session_named(request, decode(body, _Named).provider_session_id)


async def _body(request: web.Request) -> bytes:
    limits = request.app[LIMITS]
    return await read_body(request, limits.result_bytes, limits.body_s)


def _lines(body: bytes) -> list[Result | BadFrame]:
    try:
        frames: list[Result | BadFrame] = list(_RESULT.decode_lines(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # One line is bad; the others are not to suffer for it.
        frames = [_line(line) for line in body.split(b"\n") if line.strip()]
    if not frames:
        raise BadRequest("The body is empty; send one frame per line.")
    if len(frames) > _FRAMES:
        raise BadRequest(f"At most {_FRAMES} frames in one call.")
    return frames


def _line(line: bytes) -> Result | BadFrame:
    try:
        return _RESULT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadFrame(describe(error))


async def _apply(request: web.Request, sid: str, frames: list[Result | BadFrame]) -> list[FrameAnswer]:
    """Hands frames to their tasks; the answers are in the frames' order. Bad ones get 422."""
    made = items(frames)
    answers: list[FrameAnswer | None] = [
        FrameAnswer(frame.task_id, 422) if isinstance(frame, BadFrame) else None for frame in frames
    ]
    relay, owner = request.app[RELAY], request[PRINCIPAL].owner
    if made:
        for item, word in zip(made, await relay.results(sid, owner, made), strict=True):
            for line in item.lines:
                answers[line] = _answer(item.task, word)
            usage = frames[item.lines[-1]].usage
            if usage is not None and answers[item.lines[-1]].status == 200:
                request.app[METRICS].used(usage)
            if word.startswith("409:") and item.seq is not None and item.seq < int(word[4:]):
                await _apply_rest(request, sid, frames, item.lines, int(word[4:]), answers)
    return [answer for answer in answers if answer is not None]


async def _apply_rest(request, sid, frames, lines, expected: int, answers) -> None:
    """Some frames of an item were known already, the others are new: those go on alone."""
    new = []
    for line in lines:
        if frames[line].seq < expected:
            answers[line] = FrameAnswer(frames[line].task_id, 200)
        else:
            new.append(line)
    for line, answer in zip(new, await _apply(request, sid, [frames[line] for line in new]), strict=True):
        answers[line] = answer


def _answer(task: str, word: str) -> FrameAnswer:
    if word.startswith("409:"):
        return FrameAnswer(task, 409, expected=int(word[4:]))
    if word == "404":
        return FrameAnswer(task, 404)
    return FrameAnswer(task, 200, cancelled=word == "cancelled")
