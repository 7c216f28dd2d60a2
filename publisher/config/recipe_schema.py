"""The shape of a recipe in the config file: what may stand in ``wake`` and in ``sleep``.

One class for each ``type``. What a provider's type or its other recipe forbids
is told by ``recipe.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from publisher.config.fields import (
    Address,
    Environment,
    PathOfFile,
    PathOfFolder,
    Headers,
    KeepAlive,
    Line,
    Mac,
    Port,
    Seconds,
    SecondsOrZero,
    Text,
    must,
)
from publisher.config.values import MAX_WAIT_S

MaxWait = Annotated[
    Seconds, Meta(description="How long the server may take to answer, from the end of the recipe, in seconds.")
]
Arguments = Annotated[list[str], Meta(description="The program's arguments, one text each.")]
Variables = Annotated[Environment, Meta(description="Environment variables, added to the publisher's own.")]
Directory = Annotated[
    PathOfFolder | None, Meta(description="The folder to run it in. A relative one starts at the config file's folder.")
]
Level = Annotated[Literal[1, 2], must("be 1 or 2")]


class Step(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """What every kind of recipe has: its ``type``."""


class HttpStep(Step, tag="http"):
    """One HTTP request. Any 2xx is success."""

    url: Annotated[Address, Meta(description="Where to call. Redirects are not followed.")]
    method: Annotated[Literal["GET", "POST"], Meta(description="The HTTP method.")] = "POST"
    headers: Annotated[Headers, Meta(description="Headers, sent as they are.")] = {}
    body: Annotated[str, Meta(description="The body, sent as it is.")] = ""


class CommandStep(Step, tag="command"):
    """One program, run to its end without a shell. Exit code 0 is success."""

    command: Annotated[Text, Meta(description="The program: its path, or its name on the PATH.")]
    args: Arguments = []
    timeoutSeconds: Annotated[
        Seconds, Meta(description="The program and what it started are killed after so many seconds.")
    ] = 120.0
    env: Variables = {}
    directory: Directory = None


class ProcessStep(Step, tag="process"):
    """The LLM server itself, started and watched by the publisher."""

    command: Annotated[Text, Meta(description="The server's program: its path, or its name on the PATH.")]
    args: Arguments = []
    env: Variables = {}
    directory: Directory = None
    logFile: Annotated[
        PathOfFile | None, Meta(description="Where its output goes. Left out: a file in the publisher's state folder.")
    ] = None
    graceSeconds: Annotated[
        SecondsOrZero, Meta(description="How long it may take to end by itself before it is killed.")
    ] = 10.0


class StopStep(Step, tag="process"):
    """Stops the process that the wake recipe started."""


class NativeStep(Step, tag="native"):
    """The server's own way to load or unload a model (ollama, vllm, llamacpp, lmstudio)."""

    keepAlive: Annotated[
        int | KeepAlive | None,
        must('be a time like "30m", or -1 for ever'),
        Meta(description='In wake, for ollama: how long the model stays loaded without work, like "30m". -1: for ever.'),
    ] = None
    level: Annotated[
        Level | None, Meta(description="In sleep, for vllm: 1 keeps the weights in RAM, 2 drops them.")
    ] = None


class WakeOnLanStep(Step, tag="wake-on-lan"):
    """Wakes a machine by a magic packet."""

    mac: Annotated[Mac, Meta(description='The machine\'s MAC address, like "aa:bb:cc:dd:ee:ff".')]
    broadcast: Annotated[Line, Meta(description="The address to send it to.")] = "255.255.255.255"
    port: Annotated[Port, Meta(description="The UDP port to send it to.")] = 9


class WaitStep(Step, tag="wait"):
    """Waits until an address answers with anything below 500."""

    url: Annotated[Address, Meta(description="The address that must answer.")]
    timeoutSeconds: Annotated[Seconds, Meta(description="How long it may take, in seconds.")] = 120.0


class StepsWake(Step, tag="steps"):
    """Several recipes, one after the other. The first that fails ends it."""

    steps: Annotated[
        list[HttpStep | CommandStep | ProcessStep | NativeStep | WakeOnLanStep | WaitStep],
        must("hold at least one recipe", min_length=1),
        Meta(description="The recipes, in order."),
    ]
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class StepsSleep(Step, tag="steps"):
    """Several recipes, one after the other. The first that fails ends it."""

    steps: Annotated[
        list[HttpStep | CommandStep | StopStep | NativeStep | WakeOnLanStep | WaitStep],
        must("hold at least one recipe", min_length=1),
        Meta(description="The recipes, in order."),
    ]


class HttpWake(HttpStep, tag="http"):
    __doc__ = HttpStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class CommandWake(CommandStep, tag="command"):
    __doc__ = CommandStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class ProcessWake(ProcessStep, tag="process"):
    __doc__ = ProcessStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class NativeWake(NativeStep, tag="native"):
    __doc__ = NativeStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class WakeOnLanWake(WakeOnLanStep, tag="wake-on-lan"):
    __doc__ = WakeOnLanStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


class WaitWake(WaitStep, tag="wait"):
    __doc__ = WaitStep.__doc__
    maxWaitSeconds: MaxWait = MAX_WAIT_S


Wake = HttpWake | CommandWake | ProcessWake | NativeWake | WakeOnLanWake | WaitWake | StepsWake
Sleep = HttpStep | CommandStep | StopStep | NativeStep | WakeOnLanStep | WaitStep | StepsSleep
