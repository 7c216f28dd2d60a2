"""OpenAI's Files API, for batches: bytes go to the disk as they come and leave it as they are asked for."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

from aiohttp import BodyPartReader, web

from broker.errors import BadRequest, QueueFull, Refusal, RequestTimeout, TooLarge
from broker.folder import Draft
from broker.store.files import File

from .bodies import BYTES_PER_S, reply
from .context import FOLDER, LIMITS, PRINCIPAL, STORE
from .pages import limit_of, listed, newest_first

_PURPOSE = "batch"
#: Files that one answer tells of, whatever the limit is.
_PAGE = 1000
_FIELDS, _FIELD_BYTES = 16, 1000
#: Least time that files are kept for.
SHORTEST_S = 3600
_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_EXPIRES = re.compile(r"expires_after\[(anchor|seconds)\]")


async def upload(request: web.Request) -> web.Response:
    fields: dict[str, str] = {}
    drafts: list[Draft] = []
    file_id = f"file-{uuid.uuid4().hex}"
    try:
        filename = await _read_form(request, file_id, fields, drafts)
        lasts_s = _lasts_s(request, fields)
        if fields.get("purpose") != _PURPOSE:
            raise BadRequest("`purpose` is `batch`: nothing here reads other files.", param="purpose")
        if not drafts:
            raise BadRequest("`file` is missing: send the form's field `file` with a file's content.", param="file")
        now = int(time.time())
        file = File(file_id, filename, _PURPOSE, drafts[0].bytes, now, now + lasts_s)
        await drafts[0].keep()
        try:
            await request.app[STORE].files.put(file, request[PRINCIPAL].owner)
        except QueueFull:
            # Of any other refusal nobody knows whether there is a row now.
            await request.app[FOLDER].delete(file_id)
            raise
    finally:
        for draft in drafts:
            await draft.drop()
    return reply(shown(file))


async def list_files(request: web.Request) -> web.Response:
    files, more = await request.app[STORE].files.page(
        request[PRINCIPAL].owner, after=request.query.get("after", ""), limit=min(_PAGE, limit_of(request, default=_PAGE, most=10_000)),
        newest=newest_first(request, default="desc"), purpose=request.query.get("purpose", ""),
    )
    return reply(listed([shown(file) for file in files], lambda file: file["id"], more=more))


async def get_file(request: web.Request) -> web.Response:
    return reply(shown(await _asked_for(request)))


async def get_content(request: web.Request) -> web.StreamResponse:
    file = await _asked_for(request)
    path = await request.app[FOLDER].find(file.id)
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


async def delete_file(request: web.Request) -> web.Response:
    file = request.match_info["file"]
    await request.app[STORE].files.delete(file, request[PRINCIPAL].owner)
    await request.app[FOLDER].delete(file)
    return reply({"id": file, "object": "file", "deleted": True})


def shown(file: File) -> dict:
    """A file as OpenAI's clients know it."""
    return {
        "id": file.id, "object": "file", "bytes": file.bytes, "created_at": file.created_s, "expires_at": file.expires_s,
        "filename": file.filename, "purpose": file.purpose, "status": "processed", "status_details": None,
    }


async def _asked_for(request: web.Request) -> File:
    return await request.app[STORE].files.get(request.match_info["file"], request[PRINCIPAL].owner)


async def _read_form(request: web.Request, file_id: str, fields: dict[str, str], drafts: list[Draft]) -> str:
    """Reads the form: its fields, and the file to the disk. Returns the file's name. Raises BadRequest, TooLarge,
    RequestTimeout, FilesUnavailable."""
    if not request.content_type.startswith("multipart/"):
        raise BadRequest("Send the file as a form: Content-Type multipart/form-data.")
    limits = request.app[LIMITS]
    filename = ""
    try:
        form = await request.multipart()
        for _ in range(_FIELDS):
            async with asyncio.timeout(limits.body_s):
                part = await form.next()
            if part is None:
                return filename
            if not isinstance(part, BodyPartReader):
                raise BadRequest("The form's fields may not be forms themselves.")
            if part.name == "file" and not drafts:
                filename = _base_name(part.filename or "")
                drafts.append(await request.app[FOLDER].begin(file_id))
                await _copy(part, drafts[0], limits.file_bytes, limits.body_s)
            else:
                fields[part.name or ""] = await _text(part, limits.body_s)
    except TimeoutError:
        raise RequestTimeout(f"No more of the form came for {limits.body_s:g} s.") from None
    except (Refusal, ConnectionError):
        raise
    except Exception as error:
        raise BadRequest("The request's body broke off or is not a valid form.") from error
    raise BadRequest(f"The form has more than {_FIELDS} fields.")


def _base_name(given: str) -> str:
    """A file's name as its client says it, without folders: who is told it may write to it."""
    name = _CONTROLS.sub("", _FOLDERS.sub("", _as_text(given))).strip()
    return name[-255:] if name.strip(".") else "file"


def _as_text(given: str) -> str:
    """Of a header, which may hold any bytes."""
    return given.encode(errors="surrogateescape").decode(errors="replace")


async def _copy(part: BodyPartReader, draft: Draft, limit: int, within_s: float) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(within_s) as limit_s:
        while piece := await part.read_chunk(1 << 16):
            if draft.bytes + len(piece) > limit:
                raise TooLarge(f"The file is larger than {limit:,} bytes; split it.")
            await draft.write(piece)
            limit_s.reschedule(min(clock() + within_s, began + within_s + draft.bytes / BYTES_PER_S))


async def _text(part: BodyPartReader, within_s: float) -> str:
    text = b""
    while True:
        async with asyncio.timeout(within_s):
            piece = await part.read_chunk(_FIELD_BYTES)
        if not piece:
            return text.decode(errors="replace")
        text += piece
        if len(text) > _FIELD_BYTES:
            name = _as_text(part.name or "")[:100]
            raise BadRequest(f"`{name}` is longer than {_FIELD_BYTES} bytes.", param=name)


def _lasts_s(request: web.Request, fields: dict[str, str]) -> int:
    """How long the file is kept. Raises BadRequest."""
    longest_s = int(request.app[LIMITS].file_s)
    asked = {found[1]: text for name, text in fields.items() if (found := _EXPIRES.fullmatch(name))}
    if not asked:
        return longest_s
    text = asked.get("seconds", "")
    if asked.get("anchor", "created_at") != "created_at" or not text.isdecimal() or int(text) < SHORTEST_S:
        raise BadRequest(f"`expires_after` has the anchor `created_at` and at least {SHORTEST_S} seconds.", param="expires_after")
    return min(int(text), longest_s)
