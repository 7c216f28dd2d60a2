"""Many models of one server: what it has is what is published, soon and without a new channel."""

from publisher.config.values import Pattern
from tests.publisher.running import play, scene

ALL = {"name": "x/{model}", "model": "", "patterns": (Pattern("*"),)}


def rows(s) -> list[str]:
    return [entry["name"] for entry in s.broker.registrations[-1]["providers"]]


def two(broker, backend):
    backend.models = ["a", "b"]


def test_every_model_that_a_pattern_takes_is_published_with_its_own_model():
    async def test():
        async with scene(prepare=two, **ALL) as s:
            assert rows(s) == ["x/a", "x/b"]
            told = await s.broker.ended(await s.broker.infer({"messages": [], "script": {"echo": True}}, llm="x/b"))
            assert '"model":"b"' in told.last["body"]

    play(test())


def test_a_change_of_the_model_list_shows_at_the_broker_without_reconnecting():
    async def test():
        async with scene(prepare=two, **ALL) as s:
            s.backend.models = ["b", "c"]
            await s.broker.until(lambda: rows(s) == ["x/b", "x/c"])
            assert s.broker.registrations[-1]["replace"] is True and s.broker.channels == 1
            assert (await s.broker.ended(await s.broker.infer({"messages": []}, llm="x/c"))).last["status"] == 200

    play(test())


def test_a_server_that_is_away_keeps_its_models():
    async def test():
        async with scene(prepare=two, **ALL) as s:
            checks = s.backend.checks
            s.backend.up = False
            await s.backend.until(lambda: s.backend.checks >= checks + 6)
            assert len(s.broker.registrations) == 1 and rows(s) == ["x/a", "x/b"]

    play(test())


def test_a_server_that_comes_up_later_is_published_then():
    async def test():
        def away(broker, backend):
            two(broker, backend)
            backend.up = False

        async with scene(prepare=away, wait_ready=False, **ALL) as s:
            await s.backend.until(lambda: s.backend.checks >= 3)
            assert not s.broker.registrations
            s.backend.up = True
            await s.broker.ready()
            assert rows(s) == ["x/a", "x/b"]

    play(test())


def test_when_the_last_model_goes_nothing_is_published_until_one_comes():
    async def test():
        async with scene(prepare=two, **ALL) as s:
            s.backend.models = []
            await s.broker.until(lambda: rows(s) == [])
            s.broker.refuse["stream"] = [(404, "unknown session")]
            await s.broker.drop_channel()
            await s.broker.until(lambda: not s.broker.refuse["stream"])
            s.backend.models = ["c"]
            await s.broker.until(lambda: rows(s) == ["x/c"])
            await s.broker.ready()
            assert (await s.broker.ended(await s.broker.infer({"messages": []}, llm="x/c"))).last["status"] == 200

    play(test())


def test_a_model_that_is_missing_for_one_look_only_stays():
    async def test():
        async with scene(prepare=two, timers={"models_s": 0.2}, **ALL) as s:
            checks = s.backend.checks
            s.backend.models = ["a"]
            await s.backend.until(lambda: s.backend.checks > checks)
            s.backend.models = ["a", "b"]
            await s.backend.until(lambda: s.backend.checks > checks + 3)
            assert len(s.broker.registrations) == 1

    play(test())
