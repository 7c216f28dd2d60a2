"""Webhooks of durable tasks: told at the end, signed, again until they heard, never to an internal address."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.brokers import replica
from tests.support.ending import end
from tests.support.jobs import SOON, TASKS, submit, task, until
from tests.support.provider import Provider
from tests.support.public import HERE
from tests.support.waiting import eventually

SETTINGS = {**HERE, **SOON, "webhook_allow": "127.0.0.0/8", "webhook_retry_seconds": 0.05}


class Receiver:
    """What a webhook heard; ``statuses`` are its answers, the last one for all that follow."""

    def __init__(self, *statuses: int):
        self.heard: list[tuple[dict, bytes]] = []
        self.statuses = list(statuses)
        self.url = ""
        self.redirected = 0

    async def hear_elsewhere(self, request: web.Request) -> web.Response:
        self.redirected += 1
        return web.Response()

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def receiver(*statuses: int):
    made = Receiver(*statuses or (200,))
    app = web.Application()
    app.router.add_post("/hook", made.hear)
    app.router.add_route("*", "/elsewhere", made.hear_elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    try:
        yield made
    finally:
        await end(runner)


def webhook(made: Receiver) -> dict:
    return {"url": made.url, "secret": "s3cret"}


async def told(broker, name: str, state: str) -> dict:
    async def there() -> dict | None:
        found = await task(broker, name)
        return found if found["webhook"]["state"] == state else None

    return await eventually(there)


async def test_the_end_is_told_once_and_signed(redis_at):
    async with replica(redis_at, **SETTINGS) as broker, replica(redis_at, **SETTINGS), receiver() as hook:
        async with Provider(broker, "m") as provider:
            made = await submit(broker, webhook=webhook(hook))
            await provider.answer(await provider.next())
            await told(broker, made["id"], "delivered")
            [(headers, body)] = hook.heard
            at, digest = (word.partition("=")[2] for word in headers["X-Reveille-Signature"].split(","))
            assert digest == hmac.new(b"s3cret", at.encode() + b"." + body, hashlib.sha256).hexdigest()
            said = json.loads(body)
            assert said["type"] == headers["X-Reveille-Event"] == "task.done" and said["data"]["id"] == made["id"]
            assert said["data"]["result"]["status"] == 200
            assert b"s3cret" not in json.dumps([str(await redis_at.read(key.decode())) for key in await redis_at.keys()]).encode()


async def test_one_that_does_not_hear_is_told_again_with_the_same_id(redis_at):
    async with replica(redis_at, **SETTINGS) as broker, receiver(500, 302, 200) as hook, Provider(broker, "m") as provider:
        made = await submit(broker, webhook=webhook(hook))
        await provider.answer(await provider.next(), status=400)
        await told(broker, made["id"], "delivered")
        assert not hook.redirected
        assert len(hook.heard) == 3 and len({json.loads(body)["id"] for _, body in hook.heard}) == 1
        assert json.loads(hook.heard[0][1])["type"] == "task.failed"


async def test_one_that_is_gone_is_told_no_more(redis_real):
    async with replica(redis_real, **SETTINGS) as broker, receiver(410) as hook, Provider(broker, "m") as provider:
        made = await submit(broker, webhook=webhook(hook))
        await provider.answer(await provider.next())
        await told(broker, made["id"], "410")
        assert len(hook.heard) == 1 and not await redis_real.read("hooks")


@pytest.mark.parametrize("how", ["cancelled", "dead"])
async def test_every_end_is_told(redis_at, how):
    async with replica(redis_at, **SETTINGS, job_attempts=1) as broker, receiver() as hook, Provider(broker, "m") as provider:
        made = await submit(broker, webhook=webhook(hook))
        frame = await provider.next()
        if how == "cancelled":
            await broker.call("DELETE", f"{TASKS}/{made['id']}")
            await provider.next("cancel")
        await provider.fail(frame, "no")
        await until(broker, made["id"], how)
        await told(broker, made["id"], "delivered")
        assert json.loads(hook.heard[0][1])["type"] == f"task.{how}"


async def test_an_address_that_became_internal_is_not_called(redis_real):
    async with receiver() as hook:
        async with replica(redis_real, **SETTINGS) as broker, Provider(broker, "m", connect=False):
            broker.broker.durable.stop()
            made = await submit(broker, webhook=webhook(hook), deadlineSeconds=0.5)
        async with replica(redis_real, **{**SETTINGS, "webhook_allow": ""}) as broker:
            await told(broker, made["id"], "an internal address")
            assert not hook.heard


async def test_a_replica_that_dies_with_a_webhook_in_hand_leaves_it_to_another(redis_real):
    async with replica(redis_real, **{**SETTINGS, "job_poll_seconds": 20}) as broker, receiver() as hook, Provider(broker, "m") as provider:
        store = redis_real.open_store(redis_real.settings())
        made = await submit(broker, webhook=webhook(hook))
        frame = await provider.next()
        # Somebody takes it first, and is never heard of again.
        taking = asyncio.create_task(_take(store))
        await provider.answer(frame)
        number, job = await taking
        assert (number, job.id) == (1, made["id"]) and not hook.heard
        redis = redis_real.redis()
        await redis.zadd(f"rv:{{{redis_real.namespace}}}:hooks", {made["id"]: 0})
        await redis.aclose()
        async with replica(redis_real, **SETTINGS):
            await told(broker, made["id"], "delivered")
        await store.hooks.sent(job, 1, "late word", retry_ms=None)
        assert (await task(broker, made["id"]))["webhook"]["state"] == "delivered"
        await store.close()


async def _take(store):
    while True:
        if taken := await store.hooks.take(1):
            return taken[0]
        await asyncio.sleep(0)


async def test_one_that_never_answers_holds_up_no_other(redis_real):
    async with replica(redis_real, **SETTINGS) as broker, silent() as nobody, receiver() as hook:
        async with Provider(broker, "m", slots=30) as provider:
            for _ in range(25):
                await submit(broker, webhook={"url": nobody, "secret": "s"})
                await provider.answer(await provider.next())
            made = await submit(broker, webhook=webhook(hook))
            await provider.answer(await provider.next())
            # Well before the others' time is over.
            await told(broker, made["id"], "delivered")


@asynccontextmanager
async def silent():
    """The address of one that takes connections and says nothing."""
    left = asyncio.Event()

    async def say_nothing(reader, writer) -> None:
        await left.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        left.set()
        server.close()


async def test_what_became_of_an_earlier_end_says_nothing_of_a_later_one(redis_real):
    async with replica(redis_real, **{**SETTINGS, "job_poll_seconds": 20, "job_attempts": 1}) as broker, receiver() as hook:
        async with Provider(broker, "m") as provider:
            store = redis_real.open_store(redis_real.settings())
            made = await submit(broker, webhook=webhook(hook))
            await provider.fail(await provider.next(), "no")
            _, dead = await _take(store)
            await broker.call("POST", f"{TASKS}/{made['id']}/retry")
            await provider.answer(await provider.next())
            _, done = await _take(store)
            assert (dead.state, done.state) == ("dead", "done")
            await store.hooks.sent(dead, 1, "delivered", retry_ms=None)
            assert (await task(broker, made["id"]))["webhook"]["state"] == "pending"
            await store.hooks.sent(done, 1, "500", retry_ms=60_000)
            assert (await task(broker, made["id"]))["webhook"]["state"] == "500"
            await store.close()


async def test_an_address_is_in_no_log(redis_real, caplog):
    async with receiver() as hook:
        async with replica(redis_real, **SETTINGS) as broker, Provider(broker, "m", connect=False):
            broker.broker.durable.stop()
            made = await submit(broker, webhook=webhook(hook), deadlineSeconds=0.5)
        async with replica(redis_real, **{**SETTINGS, "secret_key": base64.b64encode(b"2" * 32).decode()}) as broker:
            await told(broker, made["id"], "secret_unreadable")
            said = [{**vars(one)} for one in caplog.records if one.message == "webhook not sent"]
            assert said and hook.url not in str(said)
