"""What an address says when a publisher knocks: a broker, a broker that wants a token, something else."""

import pytest

from publisher.config.values import BrokerAddress
from publisher.find.at_broker import ask_broker
from scripts.ports import free_port
from tests.publisher.find.little import HANG, Little
from tests.support.brokers import replica
from tests.support.places import FakePlace

PATH = "/api/v1/llms/_provider-heartbeat"


def refusal(code: str) -> dict:
    return {"error": {"message": "m", "type": "t", "code": code, "param": None}}


async def test_an_open_broker_lets_everybody_publish():
    async with replica(FakePlace()) as broker:
        told = await ask_broker(BrokerAddress(broker.url))
        assert (told.trouble, told.reveille, told.wants_token) == ("", True, False)
        assert (await broker.call("GET", "/api/v1/llms"))[1] == []


@pytest.mark.parametrize(
    ("page", "token", "said", "reveille"),
    [
        ((404, refusal("unknown_session")), None, "", True),
        ((401, refusal("invalid_token")), None, "wants a token", True),
        ((401, refusal("invalid_token")), "hush", "does not know this token", True),
        ((403, refusal("forbidden")), "hush", "needs the role publisher", True),
        ((404, "no such page"), None, "not like a Reveille broker", False),
        ((200, {"ok": True}), None, "not like a Reveille broker", False),
        ((401, {"error": "Unauthorized"}), None, "not like a Reveille broker", False),
        ((200, "<html>"), None, "not like a Reveille broker", False),
        ((200, "[" * 50_000), None, "not like a Reveille broker", False),
        ((301, "", {"Location": "https://x"}), "hush", "sends elsewhere", False),
        ((503, refusal("store_unavailable")), "hush", "error 503", False),
    ],
)
async def test_what_the_answer_means(page, token, said, reveille):
    async with Little({PATH: page}) as there:
        told = await ask_broker(BrokerAddress(there.url, token))
        assert said in told.trouble and bool(said) == bool(told.trouble) and told.reveille == reveille
        assert "hush" not in told.trouble and len(there.seen) == 1
        assert there.seen[0][2].get("Authorization") == (f"Bearer {token}" if token else None)


async def test_nobody_there_and_nobody_answering_are_told(monkeypatch):
    monkeypatch.setattr("publisher.find.at_broker.LIMIT_S", 0.1)
    assert "does not answer" in (await ask_broker(BrokerAddress(f"http://127.0.0.1:{free_port()}"))).trouble
    async with Little({PATH: HANG}) as there:
        assert "does not answer" in (await ask_broker(BrokerAddress(there.url))).trouble
