"""``broker apply``: rows become what documents say, once; nothing is sent while anything is wrong."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.running import applied, did, documents, ran, row, rows, said
from tests.support.brokers import Replica, replica
from tests.support.provider import Provider
from tests.support.public import HERE, put_secret
from tests.support.tokens import tokens

LLM = {"kind": "LLM", "name": "gpt", "url": "http://127.0.0.1:9/v1", "model": "g", "apiKeyRef": "key",
       "extraConfig": {"timeout": 3, "on": True}, "aliases": ["a", "no"], "description": "two\nlines: 1\n"}
PROJECT = {"kind": "Project", "name": "p", "description": "d",
           "mcpServers": [{"name": "s", "url": "http://127.0.0.1:9/mcp", "apiKeyRef": "key", "timeoutSeconds": 30, "tools": ["x"]}]}
PROMPTS = [
    {"kind": "Prompt", "name": "style", "content": "Be short.\n\n  Be kind. \n"},
    {"kind": "Prompt", "name": "style", "project": "p", "content": "yes"},
]
PERSONALITY = {"kind": "Personality", "name": "kind one", "description": "", "params": {"temperature": 0.5, "stop": ["1"]},
               "prompts": [{"name": "style", "project": "p"}, "style"]}
POOL = {"kind": "Pool", "name": "smart", "description": "d", "affinity": False,
        "members": [{"llm": "gpt", "weight": 2}, {"selector": {"model": "q", "name": "cloud-*"}, "tier": 1}]}
AGENT = {"kind": "Agent", "name": "reviewer/1", "llm": "gpt", "systemPrompt": "You review.", "project": "p",
         "defaultPersonality": "kind one", "defaultParams": {"max_tokens": 5}, "extras": {"tools": ["s.*"]}}
ANY = {"kind": "Agent", "name": "any", "model": "g", "description": "whoever has it"}
#: Not in the order in which they can be made.
ALL = [AGENT, ANY, POOL, LLM, PERSONALITY, *PROMPTS, PROJECT]
WRITABLE = ("projects", "prompts", "personalities", "llms", "pools", "agents")


async def make_all(broker: Replica) -> None:
    await put_secret(broker, "key", "hush")
    done = await applied(broker, *ALL)
    assert done.code == 0, done


async def printed(broker: Replica) -> dict[str, str]:
    """What ``get -o yaml`` prints of every kind."""
    return {kind: await said(broker, "get", kind, "-o", "yaml") for kind in WRITABLE}


async def test_what_get_prints_of_any_kind_can_be_applied_again_and_elsewhere(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_all(broker)
        before = {kind: await rows(broker, kind) for kind in WRITABLE}
        texts = await printed(broker)
        for kind, text in texts.items():
            again = await said(broker, "apply", "-f", "-", stdin=text)
            assert [line.split()[-1] for line in again.splitlines()] == ["unchanged"] * len(before[kind])
        assert {kind: await rows(broker, kind) for kind in WRITABLE} == before

        whole = "---\n".join(texts.values())
        await said(broker, "delete", "-f", "-", stdin=whole)
        assert [await rows(broker, kind) for kind in WRITABLE] == [[]] * len(WRITABLE)
        made = await said(broker, "apply", "-f", "-", stdin=whole)
        assert {line.split()[-1] for line in made.splitlines()} == {"created"}
        assert await printed(broker) == texts


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
async def test_texts_that_a_terminal_may_not_get_are_printed_so_that_they_can_be_applied_again(redis_real, encoding):
    async with replica(redis_real) as broker:
        text = "שלום\u200f!\n\u202etwo\r\nlines\x1b[2J\tü 😀\n"
        await applied(broker, {"kind": "Agent", "name": "a\u200fb", "model": "m", "systemPrompt": text, "description": "x\u200ey",
                               "defaultParams": {"k\u2066": ["\u061c"]}})
        before = await row(broker, "agents", "a\u200fb")
        printed = await did(broker, "get", "agents", "-o", "yaml", PYTHONIOENCODING=encoding)
        assert not set(printed) & set("\u200f\u202e\x1b\r\u200e\u2066\u061c") and (printed.isascii() or encoding == "utf-8")
        assert await did(broker, "apply", "-f", "-", stdin=printed) == "agent/a\\u200fb unchanged\n"
        assert await row(broker, "agents", "a\u200fb") == before and before["systemPrompt"] == text


async def test_documents_are_made_in_the_order_of_what_they_name(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await put_secret(broker, "key", "hush")
        done = await applied(broker, *ALL)
        assert [line.split("/")[0] for line in done.out.splitlines()] == [
            "project", "prompt", "prompt", "personality", "llm", "pool", "agent", "agent",
        ]
        agent, personality = await row(broker, "agents", "reviewer/1"), await row(broker, "personalities", "kind one")
        assert (agent["llm"]["name"], agent["project"]["name"], agent["defaultPersonality"]["name"]) == ("gpt", "p", "kind one")
        assert [(prompt["name"], prompt["project"]) for prompt in personality["prompts"]] == [("style", "p"), ("style", None)]
        assert (await row(broker, "llms", "gpt"))["aliases"] == ["a", "no"]


async def test_only_what_differs_is_edited(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await make_all(broker)
        done = await applied(broker, {**AGENT, "systemPrompt": "You do."}, LLM, {"kind": "Project", "name": "p", "description": "e"})
        assert done.out.splitlines() == ["project/p configured", "llm/gpt unchanged", "agent/reviewer/1 configured"]
        agent, project = await row(broker, "agents", "reviewer/1"), await row(broker, "projects", "p")
        assert (agent["version"], agent["systemPrompt"], agent["defaultParams"]) == (2, "You do.", {"max_tokens": 5})
        assert (project["description"], len(project["mcpServers"])) == ("e", 1)  # what is left out stays
        assert (await row(broker, "llms", "gpt"))["version"] == 1


async def test_a_pool_that_says_what_is_usual_is_the_same_pool(redis_real):
    async with replica(redis_real) as broker:
        assert (await applied(broker, {"kind": "Pool", "name": "p", "members": [{"llm": "a"}, {"selector": {"model": "q"}}]})).code == 0
        usual = [{"llm": "a", "weight": 1.0, "tier": 0}, {"selector": {"model": "q", "kind": None}, "llm": None}]
        assert (await applied(broker, {"kind": "Pool", "name": "p", "members": usual, "affinity": True})).out == "pool/p unchanged\n"
        for members in ([{"llm": "a", "weight": 2}, usual[1]], usual[::-1], usual[:1]):
            assert (await applied(broker, {"kind": "Pool", "name": "p", "members": members})).out == "pool/p configured\n"
        pool = await row(broker, "pools", "p")
        assert ([member["llm"] for member in pool["members"]], pool["version"]) == (["a"], 4)
        two = [{"kind": "Pool", "name": name, "members": [{"llm": "b"}]} for name in "pq"]
        assert (await applied(broker, *two)).out == "pool/p configured\npool/q created\n"
        assert (await applied(broker, *two)).out == "pool/p unchanged\npool/q unchanged\n"
        done = await applied(broker, {"kind": "Pool", "name": "p", "members": [{"llm": "a", "weight": True}]})
        assert done.code == 1 and done.err.startswith("broker: stdin:1: pool/p: ") and "weight" in done.err


async def test_an_agent_goes_from_an_llm_to_a_model_and_loses_what_is_null(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await make_all(broker)
        done = await applied(broker, {"kind": "Agent", "name": "reviewer/1", "model": "g", "project": None, "defaultPersonality": None})
        assert done.out == "agent/reviewer/1 configured\n"
        agent = await row(broker, "agents", "reviewer/1")
        assert (agent["llm"], agent["model"], agent["project"], agent["defaultPersonality"]) == (None, "g", None, None)


async def test_an_agent_its_personality_and_that_ones_prompt_of_the_agent_are_made_together(redis_real):
    circle = [
        {"kind": "Agent", "name": "a", "model": "m", "defaultPersonality": "x"},
        {"kind": "Personality", "name": "x", "prompts": [{"name": "own", "agent": "a"}]},
        {"kind": "Prompt", "name": "own", "agent": "a", "content": "c"},
    ]
    async with replica(redis_real) as broker:
        assert (await applied(broker, *circle)).code == 0
        assert (await row(broker, "agents", "a"))["defaultPersonality"]["name"] == "x"
        assert (await row(broker, "personalities", "x"))["prompts"][0]["agent"] == "a"
        again = await applied(broker, *circle)
        assert {line.split()[-1] for line in again.out.splitlines()} == {"unchanged"}


async def test_a_circle_is_made_as_far_as_it_goes(redis_real):
    async with replica(redis_real) as broker:
        done = await applied(
            broker, {"kind": "Agent", "name": "a", "model": "m", "defaultPersonality": "x"},
            {"kind": "Personality", "name": "x", "prompts": [{"name": "own", "agent": "a"}], "params": {"stream": True}},
            {"kind": "Prompt", "name": "own", "agent": "a", "content": "c"},
        )
        assert done.code == 1 and done.out == "agent/a created\nprompt/own created\n", done
        first, second = done.err.splitlines()
        assert first.startswith("broker: stdin:6: personality/x: ") and second.startswith("broker: stdin:1: agent/a: ")


async def test_one_row_under_two_names_is_refused(redis_real):
    async with replica(redis_real) as broker:
        await applied(broker, {"kind": "Project", "name": "p"})
        found = (await row(broker, "projects", "p"))["id"]
        done = await applied(broker, *({"kind": "Prompt", "name": "x", "content": of, "project": of} for of in ("p", found)))
        assert done.code == 2 and done.err == "broker: stdin:6: Prompt 'x' is written already, at stdin:1\n", done
        assert await rows(broker, "prompts") == []


async def test_a_dry_run_says_the_same_and_does_nothing(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await put_secret(broker, "key", "hush")
        text = yaml.safe_dump_all(ALL)
        told = await did(broker, "apply", "--dry-run", "-f", "-", stdin=text)
        assert [line.split(maxsplit=1)[-1] for line in told.splitlines() if "kind one" not in line] == ["created (dry run)"] * 7
        assert [await rows(broker, kind) for kind in WRITABLE] == [[]] * len(WRITABLE)
        await make_all(broker)
        told = await did(broker, "apply", "--dry-run", "-f", "-", stdin=yaml.safe_dump({**AGENT, "description": "new"}))
        assert told == "agent/reviewer/1 configured (dry run)\n"
        assert (await row(broker, "agents", "reviewer/1"))["version"] == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: Agent\nname: a\n", "stdin:4: Agent 'a' is new and needs `llm` or `model`"),
        ("kind: Pool\nname: a\naffinity: true\n", "stdin:4: Pool 'a' is new and needs `members`"),
        ("kind: Pool\nname: a\nmembers: [{llm: x}]\naffinity: 'no'\n", "stdin:4: Pool 'a': `affinity` must be true or false"),
        ("kind: LLM\nname: a\n", "stdin:4: LLM 'a' is new and needs `url`"),
        ("kind: Agent\nname: a\nllm: l\n", "Agent 'a' names the llm 'l', which is neither at the broker nor in these files"),
        ("kind: Personality\nname: a\nprompts: [{name: q, project: p}]\n", "names the prompt 'q' of the project 'p', which is neither"),
        ("kind: Project\nname: a\nmcpServers: [{name: s, url: 'http://x', apiKeyRef: k}]\n", "names the secret 'k', which is neither"),
        ("kind: Agent\nname: a\nmodel: m\nllms: x\n", "stdin:4: Agent 'a': has no field `llms`"),
    ],
)
async def test_nothing_is_sent_while_anything_is_wrong(redis_real, text, why):
    async with replica(redis_real) as broker:
        done = await ran(broker, "apply", "-f", "-", stdin="{kind: Agent, name: good, model: m}\n\n---\n" + text)
        assert done.code == 2 and done.out == "" and why in done.err, done
        assert all(line.startswith("broker: ") for line in done.err.splitlines())
        assert await rows(broker, "agents") == []


async def test_everything_wrong_is_said_at_once(redis_real, tmp_path):
    (tmp_path / "b.yaml").write_text("kind: Agent\nname: b\nx: 1\n")
    (tmp_path / "a.json").write_text(json.dumps({"kind": "LLM", "name": "a", "y": 1}))
    (tmp_path / "c.txt").write_text("not ours")
    async with replica(redis_real) as broker:
        done = await ran(broker, "apply", "-f", str(tmp_path))
        assert [line.split(":")[1].rsplit("/", 1)[-1] for line in done.err.splitlines()] == ["a.json", "b.yaml"]
        (tmp_path / "empty").mkdir()
        assert "no file there ends in .yaml" in (await ran(broker, "apply", "-f", str(tmp_path / "empty"))).err
        assert (await ran(broker, "apply", "-f", str(tmp_path / "gone"))).code == 2


async def test_json_and_several_files_and_folders_are_read(redis_real, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "1.json").write_text('{"kind": "Agent",\t"name": "a", "model": "m"}\n{"kind": "Agent", "name": "b", "model": "m"}')
    (folder / "2.yml").write_text("- {kind: Agent, name: c, model: m, defaultParams: {n: 1e3, day: 12:30, yes: yes}}\n")
    alone = tmp_path / "alone"
    alone.write_text('[{"kind": "Agent", "name": "d", "model": "\\ud83d\\ude00"}]')
    async with replica(redis_real) as broker:
        told = await did(broker, "apply", "-f", str(folder), "-f", str(alone))
        assert told.splitlines() == [f"agent/{name} created" for name in "abcd"]
        assert (await row(broker, "agents", "c"))["defaultParams"] == {"n": 1000.0, "day": "12:30", "yes": "yes"}
        assert (await row(broker, "agents", "d"))["model"] == "😀"


async def test_a_publishers_row_is_skipped_and_its_name_is_refused(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=[{"name": "v", "llmName": "m"}]):
        printed = await did(broker, "get", "agents", "-o", "yaml") + "---\n" + await did(broker, "get", "llms", "-o", "yaml")
        assert [document["lifecycle"] for document in documents(printed)] == ["virtual", "virtual"]
        assert printed.startswith("# virtual: ")
        assert (await did(broker, "apply", "-f", "-", stdin=printed)).splitlines() == [
            "llm/m skipped: it is virtual, its publisher's; edit the publisher's config file",
            "agent/v skipped: it is virtual, its publisher's; edit the publisher's config file",
        ]
        done = await applied(broker, {"kind": "Agent", "name": "v", "llm": "m"}, {"kind": "Agent", "name": "w", "llm": "m"})
        assert done.code == 1 and done.out == "agent/w created\n"
        assert done.err.startswith("broker: stdin:1: agent/v: 'v' is the name of a virtual agent, which a publisher holds")


async def test_what_names_a_refused_document_is_not_sent(redis_real):
    async with replica(redis_real) as broker:
        done = await applied(
            broker, {"kind": "LLM", "name": "l", "url": "http://127.0.0.1:9/v1"}, {"kind": "Agent", "name": "a", "llm": "l"},
            {"kind": "Agent", "name": "b", "model": "m"},
        )
        assert done.code == 1 and done.out == "agent/b created\n", done
        first, second = done.err.splitlines()
        assert first.startswith("broker: stdin:1: llm/l: ") and second == "broker: stdin:5: agent/a: not sent, for llm/l was refused"


async def test_a_client_applies_what_an_admin_set_as_long_as_it_stays(redis_real):
    async with tokens(redis_real, root="admin+client of alice", alice="client") as made, replica(redis_real, **HERE) as broker:
        project = {"kind": "Project", "name": "p", "mcpServers": [{"name": "s", "url": "http://127.0.0.1:9/mcp"}]}
        assert (await applied(broker, project, BROKER_TOKEN=made.root)).code == 0
        done = await applied(broker, {**project, "description": "mine"}, BROKER_TOKEN=made.alice)
        assert (done.code, done.out) == (0, "project/p configured\n"), done
        done = await applied(broker, {**project, "mcpServers": []}, BROKER_TOKEN=made.alice)
        assert done.code == 1 and "admin" in done.err
