"""The step ``command``: one program without a shell; exit code 0 is success.

It runs in a group of its own, which is killed as a whole at its limit or when
nobody waits any more. A daemon that it leaves behind on success stays. Its
output is never the answer: only its last lines, and only in an error.
"""

from __future__ import annotations

import asyncio
import contextlib

from publisher.config.values import Command
from publisher.failures import RecipeFailed
from publisher.recipes.output import Output
from publisher.recipes.program import Program, cannot_start, check_directory, how_it_ended

KILLED_S = 5.0  # for the kernel to end a killed program; one stuck in a device may take for ever


async def run_command(step: Command) -> None:
    check_directory(step.command, step.directory)
    try:
        output = Output(secrets=step.env.values())
    except OSError as err:
        raise cannot_start(step.command, err) from None
    try:
        code = await _exit_code(step, output)
    finally:
        await output.end()
    if code is None:
        raise RecipeFailed(f"{step.command} ran longer than {step.timeout_s:g} s{output.said()}")
    if code:
        raise RecipeFailed(f"{step.command} {how_it_ended(code)}{output.said()}")


async def _exit_code(step: Command, output: Output) -> int | None:
    """``None`` when it had to be killed."""
    program = _started(step, output)
    try:
        async with asyncio.timeout(step.timeout_s):
            return await program.wait()
    except TimeoutError:
        await _kill(program)
        return None
    except asyncio.CancelledError:
        await _kill(program)
        raise


def _started(step: Command, output: Output) -> Program:
    try:
        return Program(
            step.command, step.args, env=step.env, directory=step.directory, output=output.write_end
        )
    except (OSError, ValueError) as err:
        raise cannot_start(step.command, err) from None
    finally:
        output.started()


async def _kill(program: Program) -> None:
    program.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILLED_S):
            await program.wait()
