"""Recipes in the config file: every kind, and what does not go together."""

import os
import sys
import zoneinfo

import pytest

from publisher.config.values import (
    Command,
    Http,
    Native,
    Process,
    Recipe,
    StopProcess,
    WaitFor,
    WakeOnLan,
)
from tests.publisher.config.writing import provider, refusal

MAC = "aa:bb:cc:dd:ee:ff"
RUN = {"type": "process", "command": "llama-server"}
DAY = {"from": "08:00", "to": "18:00"}


def test_every_kind_can_wake(tmp_path):
    told = provider(tmp_path, type="ollama", wake={"type": "steps", "maxWaitSeconds": 5, "steps": [
        {"type": "wake-on-lan", "mac": MAC, "broadcast": "10.0.0.255", "port": 7},
        {"type": "wait", "url": "http://10.0.0.2:22/", "timeoutSeconds": 30},
        {"type": "http", "url": "http://x/wake", "method": "GET", "headers": {"A": "b"}, "body": "c"},
        {"type": "command", "command": "start", "args": ["a"], "timeoutSeconds": 9, "env": {"E": "1"}, "directory": "run"},
        {"type": "process", "command": "ollama", "args": ["serve"], "env": {"E": "2"}, "directory": "/srv",
         "logFile": "logs/ollama.log", "graceSeconds": 3},
        {"type": "native", "keepAlive": "30m"},
    ]})
    assert told.max_wait_s == 5
    assert told.wake == Recipe((
        WakeOnLan(MAC, "10.0.0.255", 7),
        WaitFor("http://10.0.0.2:22/", 30),
        Http("http://x/wake", "GET", {"A": "b"}, "c"),
        Command("start", ("a",), 9, {"E": "1"}, str(tmp_path / "run")),
        Process("ollama", ("serve",), {"E": "2"}, "/srv", str(tmp_path / "logs" / "ollama.log"), 3),
        Native("30m", None),
    ))


@pytest.mark.parametrize(
    "wake, made",
    [
        ({"type": "http", "url": "http://x"}, Http("http://x")),
        ({"type": "command", "command": "x"}, Command("x")),
        (RUN, Process("llama-server")),
        ({"type": "native"}, Native()),
        ({"type": "native", "keepAlive": -1}, Native("-1")),
        ({"type": "wake-on-lan", "mac": MAC}, WakeOnLan(MAC)),
        ({"type": "wait", "url": "http://x"}, WaitFor("http://x")),
        ({"type": "steps", "steps": [{"type": "native"}]}, Native()),
    ],
)
def test_each_kind_stands_alone_and_has_its_defaults(tmp_path, wake, made):
    told = provider(tmp_path, type="ollama", wake=wake)
    assert told.wake == Recipe((made,)) and told.max_wait_s == 60
    assert provider(tmp_path, type="ollama", wake=wake | {"maxWaitSeconds": 7}).max_wait_s == 7


def test_every_kind_but_one_can_put_to_sleep(tmp_path):
    told = provider(tmp_path, type="vllm", wake=RUN, sleep={"type": "steps", "steps": [
        {"type": "native", "level": 2}, {"type": "http", "url": "http://x"}, {"type": "command", "command": "x"},
        {"type": "wait", "url": "http://x"}, {"type": "process"}]})
    assert told.sleep == Recipe((Native(None, 2), Http("http://x"), Command("x"), WaitFor("http://x"), StopProcess()))


def test_a_process_is_stopped_unless_something_else_is_said(tmp_path):
    assert provider(tmp_path, wake=RUN).sleep == Recipe((StopProcess(),))
    assert provider(tmp_path, wake=RUN, sleep={"type": "process"}).sleep == Recipe((StopProcess(),))
    in_steps = {"type": "steps", "steps": [{"type": "wait", "url": "http://x"}, RUN]}
    assert provider(tmp_path, wake=in_steps).sleep == Recipe((StopProcess(),))
    other = {"type": "command", "command": "x"}
    assert provider(tmp_path, wake=RUN, sleep=other).sleep == Recipe((Command("x"),))


def test_a_home_folder_is_filled_in(tmp_path):
    told = provider(tmp_path, wake=RUN | {"command": "~/bin/serve", "directory": "~", "logFile": "~/x.log"})
    home = os.path.expanduser("~")
    assert told.wake.process == Process(f"{home}/bin/serve", directory=home, log_file=f"{home}/x.log")


@pytest.mark.parametrize(
    ("command", "directory", "found"),
    [
        ("bin/up.sh", None, "bin/up.sh"), ("./up.sh", None, "up.sh"), ("./up.sh", "my bin", "my bin/up.sh"),
        ("../up.sh", "a", "up.sh"),
    ],
)
def test_a_program_with_a_path_is_found_wherever_the_publisher_starts(tmp_path, command, directory, found):
    told = provider(tmp_path, wake={"type": "command", "command": command, "directory": directory}).wake.steps[0]
    assert told.command == str(tmp_path / found)
    assert provider(tmp_path, wake={"type": "command", "command": "docker"}).wake.steps[0].command == "docker"


@pytest.mark.parametrize("mac", ["AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff", MAC])
def test_a_mac_may_be_written_in_three_ways(tmp_path, mac):
    assert provider(tmp_path, wake={"type": "wake-on-lan", "mac": mac}).wake.steps[0].mac == mac


@pytest.mark.parametrize("mac", ["aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:gg", "aa-bb:cc:dd:ee:ff", "aabbccddeeff\n", ""])
def test_what_is_no_mac_is_refused(tmp_path, mac):
    said = refusal(tmp_path, wake={"type": "wake-on-lan", "mac": mac})
    assert said == 'wake.mac: must be a MAC address like "aa:bb:cc:dd:ee:ff"'


@pytest.mark.parametrize("time", ["30m", "-1", "1h30m", "1.5h", "0.5s", "90"])
def test_times_as_ollama_reads_them(tmp_path, time):
    assert provider(tmp_path, type="ollama", wake={"type": "native", "keepAlive": time}).wake.steps[0].keep_alive == time


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"wake": {"type": "native"}},
         "wake: native works with the types ollama, vllm, llamacpp, lmstudio; for openai use an http, command or process recipe"),
        ({"type": "anthropic", "sleep": {"type": "steps", "steps": [{"type": "native"}]}},
         "sleep.steps[0]: native works with the types ollama, vllm, llamacpp, lmstudio; for anthropic use an http, command "
         "or process recipe"),
        ({"type": "vllm", "wake": {"type": "native", "keepAlive": "1m"}},
         "wake.keepAlive: is for waking a model of an ollama server only"),
        ({"type": "ollama", "sleep": {"type": "native", "keepAlive": "1m"}},
         "sleep.keepAlive: is for waking a model of an ollama server only"),
        ({"type": "ollama", "wake": {"type": "native", "keepAlive": "soon"}},
         'wake.keepAlive: must be a time like "30m", or -1 for ever'),
        ({"type": "ollama", "wake": {"type": "native", "keepAlive": 0}},
         'wake.keepAlive: unloads the model at once: write a time like "30m", or -1 for ever'),
        ({"type": "ollama", "wake": {"type": "native", "keepAlive": "0m"}},
         'wake.keepAlive: unloads the model at once: write a time like "30m", or -1 for ever'),
        ({"type": "ollama", "sleep": {"type": "native", "level": 1}},
         "sleep.level: is for putting a vllm server to sleep only"),
        ({"type": "vllm", "wake": {"type": "native", "level": 1}}, "wake.level: is for putting a vllm server to sleep only"),
        ({"type": "vllm", "sleep": {"type": "native", "level": 3}}, "sleep.level: must be 1 or 2"),
        ({"sleep": {"type": "process"}}, "sleep: process stops the process of a wake recipe, and wake has none"),
        ({"wake": {"type": "command", "command": "x"}, "sleep": {"type": "steps", "steps": [{"type": "process"}]}},
         "sleep: process stops the process of a wake recipe, and wake has none"),
        ({"wake": RUN, "sleep": RUN}, "sleep.command: is not a known field; known are type"),
        ({"wake": {"type": "steps", "steps": [RUN, RUN]}}, "wake.steps[1]: a recipe can run one process only"),
        ({"sleep": {"type": "wake-on-lan", "mac": MAC}}, "sleep: wake-on-lan wakes a machine: it belongs into wake"),
        ({"wake": {"type": "wake-on-lan", "mac": MAC, "port": 65536}}, "wake.port: must be a whole number from 1 to 65535"),
        ({"wake": {"type": "wait", "url": "http://x:0"}},
         "wake.url: is not an address that can be called: see its host and port"),
        ({"wake": {"type": "steps", "steps": []}}, "wake.steps: must hold at least one recipe"),
        ({"wake": {"type": "steps", "steps": [{"type": "steps", "steps": []}]}},
         'wake.steps[0].type: must be "http", "command", "process", "native", "wake-on-lan" or "wait"'),
        ({"wake": {"type": "steps", "steps": [RUN | {"maxWaitSeconds": 1}]}},
         "wake.steps[0].maxWaitSeconds: belongs directly into wake"),
        ({"wake": RUN | {"env": {"A=B": "c"}}},
         'wake.env: must be an object of texts like { "CUDA_VISIBLE_DEVICES": "0" }'),
        ({"wake": RUN | {"env": {"A": 5}}}, 'wake.env: must be an object of texts like { "CUDA_VISIBLE_DEVICES": "0" }'),
        ({"wake": RUN | {"graceSeconds": -1}}, "wake.graceSeconds: must be a number, 0 or more"),
        ({"wake": RUN | {"directory": ""}}, "wake.directory: must be the path of a folder"),
        ({"idleSeconds": 5}, "idleSeconds: needs a sleep recipe, or a wake recipe of type process"),
        ({"group": "gpu"}, "group: needs a sleep recipe, or a wake recipe of type process"),
        ({"wake": RUN, "idleSeconds": 0}, "idleSeconds: must be a number above 0"),
        ({"wake": RUN, "idleSeconds": "inf"}, "idleSeconds: must be a number above 0"),
        ({"wake": RUN, "minAwakeSeconds": -1}, "minAwakeSeconds: must be a number, 0 or more"),
        ({"wake": RUN, "groupWaitSeconds": 5}, "groupWaitSeconds: needs a group: nothing else is waited for"),
        ({"wake": RUN, "group": "g", "groupWaitSeconds": -1}, "groupWaitSeconds: must be a number, 0 or more"),
        ({"warmHours": [DAY]}, "warmHours: needs a wake recipe"),
        ({"wake": RUN, "warmHours": []}, "warmHours: must hold at least one time"),
        ({"wake": RUN, "warmHours": DAY}, "warmHours: must be a list [ … ]"),
        ({"wake": RUN, "warmHours": [{"from": "08:00"}]}, "warmHours[0].to: is missing"),
        ({"wake": RUN, "warmHours": [DAY | {"from": "8:00"}]}, 'warmHours[0].from: must be a time like "08:00"'),
        ({"wake": RUN, "warmHours": [DAY | {"from": "24:00"}]}, 'warmHours[0].from: must be a time like "08:00"'),
        ({"wake": RUN, "warmHours": [DAY | {"to": "24:01"}]}, 'warmHours[0].to: must be a time like "18:00", up to "24:00"'),
        ({"wake": RUN, "warmHours": [DAY | {"to": "08:00"}]},
         'warmHours[0].to: is when it begins: the whole day is from "00:00" to "24:00"'),
        ({"wake": RUN, "warmHours": [DAY | {"days": "mon-friday"}]},
         'warmHours[0].days: must be days like "mon-fri" or "mon, wed, fri"'),
        ({"wake": RUN, "warmHours": [DAY, DAY | {"timezone": "Europe/Atlantis"}]},
         'warmHours[1].timezone: is no time zone that this machine knows: write one like "Europe/Berlin"'),
        ({"wake": RUN, "warmHours": [DAY | {"timezone": "Europe"}]},
         'warmHours[0].timezone: is no time zone that this machine knows: write one like "Europe/Berlin"'),
        ({"wake": RUN, "warmHours": [DAY | {"timezone": "../../etc/passwd"}]},
         'warmHours[0].timezone: is no time zone that this machine knows: write one like "Europe/Berlin"'),
        ({"canary": True}, "canary: needs a wake recipe: it tries the server after a wake"),
        ({"wake": RUN, "canary": "chatt"}, 'canary: must be true, false, "chat", "completions" or "embeddings"'),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(tmp_path, fields, said):
    assert refusal(tmp_path, **fields) == said


def test_on_a_machine_without_time_zones_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        said = refusal(tmp_path, wake=RUN, warmHours=[DAY | {"timezone": "Europe/Berlin"}])
    finally:
        zoneinfo.reset_tzpath()
    assert said == (
        "warmHours[0].timezone: is no time zone that this machine knows: it has no list of them, so install tzdata"
    )
