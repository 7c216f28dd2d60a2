"""Tool servers in the config file, and agents that name a model: what comes of them, and what is refused."""

import pytest

from broker import wire
from publisher.config.values import ToolServer
from tests.publisher.config.writing import PROVIDER, complaint, read

TOOL = {"name": "files", "publish": True, "command": "mcp-files"}


def tool(folder, **fields) -> ToolServer:
    return read(folder, {"tools": [TOOL | fields]}).tools[0]


def refusal(folder, written: dict) -> str:
    said = complaint(folder, {"tools": [written]})
    assert said.startswith('publisher.json:1: tools[0] ("files"): '), said
    return said.removeprefix('publisher.json:1: tools[0] ("files"): ')


def test_a_program_with_its_defaults(tmp_path):
    assert tool(tmp_path) == ToolServer("files", command="mcp-files", slots=4, idle_s=300.0, timeout_s=60.0)


def test_all_that_can_be_said_of_a_program(tmp_path, monkeypatch):
    monkeypatch.setenv("SEARCH_KEY", "k3y")
    made = tool(
        tmp_path, command="bin/mcp", args=["--root", "/srv"], env={"KEY": "${SEARCH_KEY}"}, cwd="work", description="d", slots=2,
        idleSeconds=5, timeoutSeconds=7,
    )
    assert made == ToolServer(
        "files", str(tmp_path / "work/bin/mcp"), ("--root", "/srv"), {"KEY": "k3y"}, str(tmp_path / "work"), "", "d", 2, 5.0, 7.0
    )
    assert "k3y" not in repr(made)


def test_one_at_an_address(tmp_path):
    made = read(tmp_path, {"tools": [{"name": "files", "publish": True, "url": "http://127.0.0.1:3001/mcp"}]}).tools[0]
    assert made == ToolServer("files", url="http://127.0.0.1:3001/mcp")


def test_one_that_is_not_published_is_counted_and_left_out(tmp_path):
    config = read(tmp_path, {"tools": [{"name": "files", "command": "x"}]})
    assert config.tools == () and config.unpublished == 1 and not config.publishes


def test_tool_servers_alone_are_something_to_publish(tmp_path):
    assert read(tmp_path, {"tools": [TOOL]}).publishes


def test_an_entry_tells_the_broker_nothing_of_what_is_local(tmp_path):
    made = tool(tmp_path, args=["secret"], env={"A": "secret"}, description="d")
    assert made.entry() == wire.ToolServerEntry("files", description="d", slots=4)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"name": "files"}, "command: is missing: a tool server needs a program, or a url"),
        (TOOL | {"url": "http://x"}, "command: stands beside url: it belongs to a program that the publisher starts"),
        ({"name": "files", "url": "http://x", "args": ["x"]}, "args: stands beside url: it belongs to a program that the publisher starts"),
        ({"name": "files", "url": "http://x", "env": {"A": "b"}}, "env: stands beside url: it belongs to a program that the publisher starts"),
        ({"name": "files", "url": "http://x", "cwd": "x"}, "cwd: stands beside url: it belongs to a program that the publisher starts"),
        ({"name": "files", "url": "http://x:0"}, "url: is not an address that can be called: see its host and port"),
        ({"name": "files", "url": "file:///x"}, 'url: must be an address like "http://127.0.0.1:8000/v1"'),
        (TOOL | {"comand": "x"}, 'comand: is not a known field; did you mean "command"?'),
        (TOOL | {"args": "x"}, "args: must be a list [ … ]"),
        (TOOL | {"slots": 0}, "slots: must be a whole number above 0"),
        (TOOL | {"idleSeconds": 0}, "idleSeconds: must be a number above 0"),
        (TOOL | {"env": {"A": 5}}, 'env: must be an object of texts like { "CUDA_VISIBLE_DEVICES": "0" }'),
    ],
)
def test_what_cannot_be_is_refused_naming_its_place(tmp_path, written, said):
    assert refusal(tmp_path, written) == said


def test_two_of_one_name_are_refused_but_an_llm_may_have_it_too(tmp_path):
    assert complaint(tmp_path, {"tools": [TOOL, TOOL]}).endswith("name: tools[0].name has the same")
    assert read(tmp_path, {"providers": [PROVIDER | {"name": "files"}], "tools": [TOOL]}).publishes


def test_a_name_that_no_row_can_have_is_refused(tmp_path):
    assert 'not start with "_"' in complaint(tmp_path, {"tools": [TOOL | {"name": "_tools/x"}]})


def test_an_agent_names_a_model_instead_of_an_llm(tmp_path):
    made = read(tmp_path, {"agents": [{"name": "bot", "model": "qwen3"}, {"name": "other", "llmName": "m"}]}).agents
    assert made == (wire.AgentEntry("bot", model="qwen3"), wire.AgentEntry("other", "m"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "llmName: is missing: an agent needs an LLM that answers, or a model"),
        ({"llmName": "m", "model": "x"}, "model: stands beside llmName: only one of them can count"),
        ({"model": ""}, "model: must have 1 to 128 characters"),
    ],
)
def test_an_agent_with_neither_or_both_is_refused(tmp_path, fields, said):
    assert complaint(tmp_path, {"agents": [{"name": "bot", **fields}]}) == f'publisher.json:1: agents[0] ("bot"): {said}'
