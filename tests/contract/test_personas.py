"""What an agent's caller gets besides the agent's own prompt: its personality's and its project's prompts and parameters."""

from __future__ import annotations

from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.library import PERSONALITIES, PROMPTS, make_personality, make_project, make_prompt
from tests.support.messages import HELLO, completion
from tests.support.provider import Provider
from tests.support.streams import asked


async def request_of(broker, provider, **body) -> dict:
    """What the LLM is asked when the agent ``bot`` is."""
    task = asked(broker.chat("agent/bot", **{"messages": HELLO, **body}))
    frame = await provider.next()
    await provider.answer(frame, completion(content="hi"))
    assert (await task)[0] == 200
    return frame["request"]


def block(*prompts: str) -> list[dict]:
    return [{"role": "system", "content": "\n\n".join(prompts)}, *HELLO]


async def test_the_block_is_the_agents_prompt_then_its_personalitys_then_its_projects_each_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_project(broker, "house")
        await make_project(broker, "garden")
        await make_agent(broker, "bot", "m", project="house", systemPrompt="be kind")
        await make_agent(broker, "other", "m")
        ids = [
            (await make_prompt(broker, name, content, **of))["id"]
            for name, content, of in (
                ("z", "everywhere", {}), ("y", "in the house, last", {"project": "house"}), ("a", "in the house, first", {"project": "house"}),
                ("mine", "of the bot", {"agent": "bot"}), ("theirs", "of another", {"agent": "other"}), ("g", "in the garden", {"project": "garden"}),
            )
        ]
        everywhere, last, _, mine, theirs, garden = ids
        await make_personality(broker, "warm", prompts=[mine, theirs, garden, last, everywhere])
        assert (await request_of(broker, provider))["messages"] == block("be kind", "in the house, first", "in the house, last")
        await broker.call("PATCH", "/api/v1/agents/bot", {"defaultPersonality": "warm"})
        assert (await request_of(broker, provider))["messages"] == block(
            "be kind", "of the bot", "in the house, last", "everywhere", "in the house, first"
        )
        await broker.call("PATCH", f"{PROMPTS}/{everywhere}", {"content": "anew"})
        await broker.call("PATCH", "/api/v1/agents/bot", {"systemPrompt": "", "project": None})
        assert (await request_of(broker, provider))["messages"] == block("of the bot", "anew")


async def test_a_personalitys_parameters_come_before_the_agents_and_after_the_callers(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_personality(broker, "warm", params={"temperature": 0.9, "max_completion_tokens": 7, "stop": []})
        params = {"temperature": 0.1, "max_tokens": 5, "seed": 10**18, "top_p": 0.5}
        await make_agent(broker, "bot", "m", defaultParams=params, defaultPersonality="warm")
        request = await request_of(broker, provider, top_p=0.25)
        assert request == {
            "model": "agent/bot", "messages": HELLO, "top_p": 0.25, "temperature": 0.9, "max_completion_tokens": 7,
            "stop": [], "seed": 10**18,
        }
        assert "max_completion_tokens" not in await request_of(broker, provider, max_tokens=3)


async def test_a_personality_that_is_gone_is_none(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        prompt = await make_prompt(broker, "kind", "be kind")
        await make_personality(broker, "warm", prompts=[prompt["id"]])
        await make_agent(broker, "bot", "m", defaultPersonality="warm")
        assert (await request_of(broker, provider))["messages"] == block("be kind")
        assert (await broker.call("DELETE", f"{PERSONALITIES}/warm"))[0] == 204
        assert (await request_of(broker, provider))["messages"] == HELLO
