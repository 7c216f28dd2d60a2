"""``broker edit`` and ``broker delete``: one row in an editor, version guarded; rows that go."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.running import applied, did, ran, row, rows
from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.pools import make_pool
from tests.support.provider import Provider


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """An editor that runs these shell words on the file, ``$1``."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def of(script: str) -> dict[str, str]:
        program = tmp_path / "an editor"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"EDITOR": f"'{program}'", "VISUAL": ""}

    return of


def kept(err: str) -> Path:
    return Path(re.search(r"kept in (\S+)", err)[1])


async def test_what_is_typed_is_the_row(redis_at, editor):
    async with replica(redis_at) as broker:
        await make_agent(broker, "a", model="m", systemPrompt="one\ntwo\n", defaultParams={"n": 1})
        said = await did(broker, "edit", "agent", "a", **editor("sed -i 's/two/three/' \"$1\""))
        assert said == "agent/a edited\n"
        agent = await row(broker, "agents", "a")
        assert (agent["systemPrompt"], agent["defaultParams"], agent["version"]) == ("one\nthree\n", {"n": 1}, 2)


async def test_an_editor_that_changes_nothing_edits_nothing(redis_real, editor, tmp_path):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        assert await did(broker, "edit", "agents", "a", **editor("cp \"$1\" seen; mv seen \"$1\"")) == "agent/a unchanged\n"
        assert await did(broker, "edit", "agents", "a", **editor("echo '# more' >> \"$1\"")) == "agent/a unchanged\n"
        assert (await row(broker, "agents", "a"))["version"] == 1
        assert not list(tmp_path.glob("broker-agent-*"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'x: [' >> \"$1\"", "is not YAML"),
        ("echo 'sistemPrompt: x' >> \"$1\"", "has no field `sistemPrompt`"),
        ("sed -i 's/^name: a/name: b/' \"$1\"", "kind and name, and where a prompt belongs, cannot be changed"),
        ("sed -i 's/^project: .*/project: q/' \"$1\"", "names the project 'q', which is neither"),
        ("sed -i 's/^defaultParams: .*/defaultParams: {stream: true}/' \"$1\"", "`stream`"),
        ("echo gone > \"$1\"", "a document is an object"),
        (": > \"$1\"", "there must be one document"),
        ("exit 3", "the editor ended with 3; nothing was changed"),
    ],
)
async def test_a_refused_edit_keeps_the_text(redis_real, editor, script, said):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        done = await ran(broker, "edit", "agent", "a", **editor(script))
        assert done.code == 1 and done.out == "" and said in done.err, done
        assert kept(done.err).exists() and kept(done.err).stat().st_mode & 0o077 == 0
        assert (await row(broker, "agents", "a"))["version"] == 1


async def test_an_editor_that_leaves_no_file_edits_nothing(redis_real, editor):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        done = await ran(broker, "edit", "agent", "a", **editor('rm "$1"'))
        assert done.code == 1 and "the editor left no text in " in done.err and done.err.endswith("nothing was changed\n"), done
        assert (await row(broker, "agents", "a"))["version"] == 1


async def test_an_edit_of_what_somebody_else_edited_meanwhile_is_refused(redis_at, editor):
    async with replica(redis_at) as broker:
        await make_agent(broker, "a", model="m")
        between = f"curl -s -o /dev/null -X PATCH {broker.url}/api/v1/agents/a -d '{{\"description\": \"theirs\"}}'\n"
        done = await ran(broker, "edit", "agent", "a", **editor(between + "sed -i 's/^systemPrompt: .*/systemPrompt: mine/' \"$1\""))
        assert done.code == 1 and "edited meanwhile" in done.err, done
        assert "systemPrompt: mine" in kept(done.err).read_text()
        agent = await row(broker, "agents", "a")
        assert (agent["description"], agent["systemPrompt"]) == ("theirs", "")


async def test_an_editor_that_is_not_there_is_named(redis_real, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        done = await ran(broker, "edit", "agent", "a", VISUAL="", EDITOR="/no/such/editor")
        assert done.code == 1 and "the editor '/no/such/editor' did not start" in done.err and not list(tmp_path.iterdir())


async def test_a_publishers_row_is_not_edited(redis_real, editor):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        done = await ran(broker, "edit", "llm", "m", **editor("exit 5"))
        assert done.code == 1 and done.err == "broker: llm/m is virtual: its publisher owns it; edit the publisher's config file\n"


async def test_a_prompt_can_get_another_name(redis_real, editor):
    async with replica(redis_real) as broker:
        await applied(broker, {"kind": "Prompt", "name": "p", "content": "c"})
        assert await did(broker, "edit", "prompt", "p", **editor("sed -i 's/^name: p/name: q/' \"$1\"")) == "prompt/p edited\n"
        assert [prompt["name"] for prompt in await rows(broker, "prompts")] == ["q"]


async def test_a_pool_is_edited_and_deleted_as_any_row(redis_real, editor):
    async with replica(redis_real) as broker:
        await make_pool(broker, "p", "a", {"llm": "b", "tier": 1})
        assert await did(broker, "edit", "pool", "p", **editor("sed -i 's/llm: a/llm: c/' \"$1\"")) == "pool/p edited\n"
        pool = await row(broker, "pools", "p")
        assert (pool["members"], pool["version"]) == ([{"llm": "c"}, {"llm": "b", "tier": 1}], 2)
        between = f"curl -s -o /dev/null -X PATCH {broker.url}/api/v1/pools/p -d '{{\"description\": \"theirs\"}}'\n"
        done = await ran(broker, "edit", "pool", "p", **editor(between + "sed -i 's/llm: c/llm: d/' \"$1\""))
        assert done.code == 1 and "edited meanwhile" in done.err and "llm: d" in kept(done.err).read_text()
        assert await did(broker, "delete", "pool", "p") == "pool/p deleted\n" and await rows(broker, "pools") == []
        done = await ran(broker, "delete", "pool", "p")
        assert done.code == 1 and done.err.startswith("broker: pool/p: There is no pool 'p'")


async def test_what_is_deleted_is_gone_and_what_cannot_be_is_said(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        await make_agent(broker, "a", "m")
        await make_agent(broker, "b", "m")
        done = await ran(broker, "delete", "llm", "m")
        assert done.code == 1 and done.err.startswith("broker: llm/m: ") and "pinned to 'm': a, b" in done.err
        done = await ran(broker, "delete", "agents", "a", "gone", "b")
        assert (done.code, done.out) == (1, "agent/a deleted\nagent/b deleted\n") and "agent/gone: There is no agent 'gone'" in done.err
        assert await rows(broker, "agents") == []


async def test_what_documents_name_is_deleted_the_last_kinds_first(redis_real):
    text = (
        "kind: Project\nname: p\n---\nkind: Prompt\nname: q\nproject: p\ncontent: c\n---\nkind: Agent\nname: a\nmodel: m\nproject: p\n"
    )
    async with replica(redis_real) as broker:
        await did(broker, "apply", "-f", "-", stdin=text)
        assert await did(broker, "delete", "-f", "-", stdin=text) == "agent/a deleted\nprompt/q deleted\nproject/p deleted\n"
        done = await ran(broker, "delete", "-f", "-", stdin="kind: Agent\nname: a\n")
        assert done.code == 1 and done.err == "broker: stdin:1: agent/a is not there\n"
