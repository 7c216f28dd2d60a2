"""Runs a recipe: the HTTP call or the command that wakes a backend or puts it to sleep.

Recipes come from the publisher's own config file and from nowhere else; a task
names a provider, never a command or a URL. No shell is involved.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import IO

import aiohttp
from yarl import URL

from publisher.config import CommandRecipe, HttpRecipe, Recipe

LINES_KEPT = 20
BYTES_KEPT = 8192


class RecipeFailed(Exception):
    pass


async def run_recipe(recipe: Recipe, http: aiohttp.ClientSession, http_timeout_s: float = 30.0) -> None:
    if isinstance(recipe, HttpRecipe):
        await _call(recipe, http, http_timeout_s)
    else:
        await _command(recipe)


async def _call(recipe: HttpRecipe, http: aiohttp.ClientSession, timeout_s: float) -> None:
    # The reason reaches clients, so what may be secret in a URL stays out of it.
    where = f"{recipe.method} {URL(recipe.url).with_user(None).with_query(None)}"
    try:
        async with http.request(
            recipe.method,
            recipe.url,
            headers=recipe.headers,
            data=recipe.body.encode() or None,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as answer:
            if not 200 <= answer.status < 300:
                raise RecipeFailed(f"{where} answered {answer.status}")
    except asyncio.TimeoutError:
        raise RecipeFailed(f"{where} gave no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as err:
        raise RecipeFailed(f"{where} failed: {err or type(err).__name__}") from None


async def _command(recipe: CommandRecipe) -> None:
    # A file, not a pipe: a daemon that the command leaves behind keeps its output
    # open, and a pipe would then never end.
    with tempfile.TemporaryFile() as output:
        process = await _started(recipe, output)
        try:
            async with asyncio.timeout(recipe.timeout_s):
                code = await process.wait()
        except TimeoutError:
            await _killed(process)
            raise RecipeFailed(f"{recipe.command} ran longer than {recipe.timeout_s:g} s{_said(output)}") from None
        except BaseException:
            await _killed(process)
            raise
        if code:
            raise RecipeFailed(f"{recipe.command} ended with exit code {code}{_said(output)}")


async def _started(recipe: CommandRecipe, output: IO[bytes]) -> asyncio.subprocess.Process:
    own_group: dict = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        return await asyncio.create_subprocess_exec(
            recipe.command, *recipe.args, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **own_group
        )
    except (OSError, ValueError) as err:
        raise RecipeFailed(f"{recipe.command} cannot be started: {err}") from None


async def _killed(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _said(output: IO[bytes]) -> str:
    """The end of what the command printed, for the error."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - BYTES_KEPT))
    lines = output.read().decode(errors="replace").strip().splitlines()[-LINES_KEPT:]
    return ": " + " / ".join(line.strip() for line in lines) if lines else ""
