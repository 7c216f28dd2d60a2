from tests.support.brokers import replica
from tests.support.provider import Provider
import asyncio

async def test_smoke(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as p:
        asking = asyncio.create_task(other.chat("m"))
        f = await p.next()
        print(f)
        print(await p.answer(f, {"a": 1}))
        print(await asking)
        assert (await asking)[0] == 200
