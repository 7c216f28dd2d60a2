"""Makes a provider's recipes out of what the file says, and refuses what cannot work.

Here is what one field forbids another: by the provider's type, or because wake
and sleep belong together. What a single field may be is the schema's matter.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from publisher.config import recipe_schema as written
from publisher.config.address import check_address
from publisher.config.mistake import Mistake, Place
from publisher.config.values import Command, Http, Native, Process, Recipe, Step, StopProcess, WaitFor, WakeOnLan

if TYPE_CHECKING:
    from publisher.config.schema import ProviderEntry
    from publisher.config.secrets import Folder

#: The types that load and unload models by themselves, when they are told to.
NATIVE_TYPES = ("ollama", "vllm", "llamacpp", "lmstudio")


def recipes_of(entry: ProviderEntry, at: Place, patterns: bool, folder: Folder) -> tuple[Recipe | None, Recipe | None]:
    """How to wake it, and how to put it to sleep."""
    wake = _recipe(entry.wake, (*at, "wake"), entry.type, folder)
    sleep = _recipe(entry.sleep, (*at, "sleep"), entry.type, folder)
    runs = wake is not None and wake.process is not None
    if runs and patterns:
        raise Mistake((*at, "wake"), "one process cannot serve a pattern of models: use wake native if the server "
                      "can do that, or one provider for each model")
    if sleep is None:
        return wake, Recipe((StopProcess(),)) if runs else None
    if not runs and any(isinstance(step, StopProcess) for step in sleep.steps):
        raise Mistake((*at, "sleep"), "process stops the process of a wake recipe, and wake has none")
    return wake, sleep


def _recipe(told: written.Wake | written.Sleep | None, at: Place, type_: str, folder: Folder) -> Recipe | None:
    if told is None:
        return None
    several = isinstance(told, written.StepsWake | written.StepsSleep)
    steps = [(step, (*at, "steps", number)) for number, step in enumerate(told.steps)] if several else [(told, at)]
    made: list[Step] = []
    for step, place in steps:
        _check(step, place, at[-1] == "wake", type_)
        made.append(_step(step, folder))
        if isinstance(made[-1], Process) and any(isinstance(one, Process) for one in made[:-1]):
            raise Mistake(place, "a recipe can run one process only")
    return Recipe(tuple(made))


def _check(step: written.Step, at: Place, waking: bool, type_: str) -> None:
    if isinstance(step, written.HttpStep | written.WaitStep):
        check_address(step.url, (*at, "url"))
    if isinstance(step, written.WakeOnLanStep) and not waking:
        raise Mistake(at, "wake-on-lan wakes a machine: it belongs into wake")
    if not isinstance(step, written.NativeStep):
        return
    if type_ not in NATIVE_TYPES:
        able = ", ".join(NATIVE_TYPES)
        raise Mistake(at, f"native works with the types {able}; for {type_} use an http, command or process recipe")
    if step.keepAlive is not None and (type_ != "ollama" or not waking):
        raise Mistake((*at, "keepAlive"), "is for waking a model of an ollama server only")
    if step.keepAlive is not None and not re.search("[1-9]", str(step.keepAlive)):
        raise Mistake((*at, "keepAlive"), 'unloads the model at once: write a time like "30m", or -1 for ever')
    if step.level is not None and (type_ != "vllm" or waking):
        raise Mistake((*at, "level"), "is for putting a vllm server to sleep only")


def _step(step: written.Step, folder: Folder) -> Step:
    match step:
        case written.HttpStep():
            return Http(step.url, step.method, step.headers, step.body)
        case written.CommandStep():
            return Command(program(step.command, step.directory, folder), tuple(step.args), step.timeoutSeconds, step.env,
                           folder.place(step.directory))
        case written.ProcessStep():
            return Process(program(step.command, step.directory, folder), tuple(step.args), step.env, folder.place(step.directory),
                           folder.place(step.logFile), step.graceSeconds)
        case written.StopStep():
            return StopProcess()
        case written.NativeStep():
            return Native(None if step.keepAlive is None else str(step.keepAlive), step.level)
        case written.WakeOnLanStep():
            return WakeOnLan(step.mac, step.broadcast, step.port)
        case written.WaitStep():
            return WaitFor(step.url, step.timeoutSeconds)
    raise TypeError(step)


def program(command: str, directory: str | None, folder: Folder) -> str:
    """No shell is there to expand ``~``, and a service starts in another folder than a shell. A bare name is for the PATH."""
    if command.startswith("~"):
        return os.path.expanduser(command)
    return folder.place(os.path.join(directory or "", command)) if os.path.dirname(command) else command
