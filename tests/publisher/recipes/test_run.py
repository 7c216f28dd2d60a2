"""A recipe: steps in order, to the first failure; each kind gets to who does it."""

import asyncio

import pytest
from aiohttp import web

from publisher.config.values import Command, Http, Native, Process, Recipe, StopProcess, WaitFor, WakeOnLan
from publisher.failures import RecipeFailed
from publisher.recipes.run import Tools, run_recipe
from publisher.recipes.server_process import ServerProcess
from tests.publisher.recipes.programs import alive, command, server
from tests.publisher.recipes.sites import site
from tests.support.waiting import eventually


class Ordered:
    """A backend that only remembers its orders."""

    url = "http://x"

    def __init__(self) -> None:
        self.orders = []

    async def load(self, model: str, keep_alive: str | None) -> None:
        self.orders.append(("load", model, keep_alive))

    async def unload(self, model: str, level: int | None) -> None:
        if level == 2:
            raise RecipeFailed("it has no sleep mode")
        self.orders.append(("unload", model, level))


def tools(session=None, backend=None, process=None, **more) -> Tools:
    return Tools(session, backend or Ordered(), "qwen", process, **more)


def test_steps_run_in_order(play, http, tmp_path):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, (tmp_path / "made").exists()))
        return web.Response()

    async def test():
        async with site(answer) as url, http() as session:
            steps = (
                Http(f"{url}/first"),
                WakeOnLan("00:11:22:aa:bb:cc", "127.0.0.1", 40009),
                command(f"open({str(tmp_path / 'made')!r}, 'w')"),
                WaitFor(f"{url}/last"),
            )
            await run_recipe(Recipe(steps), tools(session), waking=True)
        assert seen == [("/first", False), ("/last", True)]

    play(test())


def test_the_first_failure_ends_it_and_says_which_step_it_was(play, http):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async def test():
        async with site(answer) as url, http() as session:
            steps = (Http(f"{url}/1"), Command("/no/such/command"), Http(f"{url}/3"))
            with pytest.raises(RecipeFailed, match=r"^step 2 of 3 \(command\): /no/such/command cannot be started: "):
                await run_recipe(Recipe(steps), tools(session), waking=True)
        assert seen == ["/1"]

    play(test())


def test_each_kind_of_step_is_called_by_the_name_that_the_config_has(play, http):
    async def test():
        async with http() as session:
            for step, kind in (
                (Http("http://127.0.0.1:9/"), "http"),
                (command("raise SystemExit(1)"), "command"),
                (Process("x"), "process"),
                (StopProcess(), "process"),
                (Native(level=2), "native"),
                (WakeOnLan("nonsense"), "wake-on-lan"),
                (WaitFor("http://127.0.0.1:9/", 0.01), "wait"),
            ):
                with pytest.raises(RecipeFailed, match=rf"^step 2 of 2 \({kind}\): "):
                    await run_recipe(Recipe((Native(), step)), tools(session), waking=False)

    play(test())


def test_a_single_step_is_not_counted(play):
    async def test():
        with pytest.raises(RecipeFailed, match="^/no/such/command cannot be started"):
            await run_recipe(Recipe((Command("/no/such/command"),)), tools(), waking=True)

    play(test())


def test_a_native_step_loads_on_waking_and_unloads_on_sleeping(play):
    async def test():
        backend = Ordered()
        await run_recipe(Recipe((Native(keep_alive="30m"),)), tools(backend=backend), waking=True)
        await run_recipe(Recipe((Native(level=1),)), tools(backend=backend), waking=False)
        await run_recipe(Recipe((Native(),)), tools(backend=backend), waking=False)
        assert backend.orders == [("load", "qwen", "30m"), ("unload", "qwen", 1), ("unload", "qwen", None)]

    play(test())


def test_a_process_step_starts_the_process_and_its_counterpart_stops_it(play, tmp_path):
    async def test():
        step = server("import time; time.sleep(60)")
        process = ServerProcess(step, "qwen", tmp_path / "log")
        await run_recipe(Recipe((step,)), tools(process=process), waking=True)
        pid = process.pid
        assert alive(pid)
        await run_recipe(Recipe((StopProcess(),)), tools(process=process), waking=False)
        assert not process.running and not alive(pid)
        with pytest.raises(RecipeFailed, match="there is no process"):
            await run_recipe(Recipe((StopProcess(),)), tools(), waking=False)

    play(test())


def test_the_limit_of_http_steps_is_the_one_that_was_given(play, http):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()

    async def test():
        async with site(answer) as url, http() as session:
            with pytest.raises(RecipeFailed, match="no answer within 0.05 s"):
                await run_recipe(Recipe((Http(url),)), tools(session, http_timeout_s=0.05), waking=True)

    play(test())


def test_a_cancelled_recipe_ends_its_step_and_runs_no_other(play, http, tmp_path):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async def test():
        async with site(answer) as url, http() as session:
            holds = command(f"import time; open({str(tmp_path / 'runs')!r}, 'w'); time.sleep(60)")
            running = asyncio.create_task(run_recipe(Recipe((holds, Http(url))), tools(session), waking=True))
            await eventually((tmp_path / "runs").exists)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled() and seen == []

    play(test())


def test_a_server_that_never_ends_loading_is_given_up(play, http):
    class Hanging(Ordered):
        async def load(self, model: str, keep_alive: str | None) -> None:
            await asyncio.Event().wait()

    async def test():
        with pytest.raises(RecipeFailed, match="did not load the model within 0.05 s"):
            await run_recipe(Recipe((Native(),)), tools(backend=Hanging(), native_timeout_s=0.05), waking=True)

    play(test())
