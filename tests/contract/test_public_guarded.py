"""What a broker does not reach, though a row names it: looked at when it is made, and again at each call."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.middlebox import certificate_for
from tests.support.public import HERE, LLMS, make_llm
from tests.unit.test_upstream_guard import resolving


async def test_a_name_that_leads_inside_a_moment_later_gains_nothing(redis_real, monkeypatch):
    async with replica(redis_real) as broker, Backend() as upstream:
        resolving(monkeypatch, api_example=["1.1.1.1"])
        await make_llm(broker, "gpt", f"http://api.example:{upstream.port}/v1")
        resolving(monkeypatch, api_example=["127.0.0.1"])
        for stream_it in (False, True):
            status, body, _ = await broker.chat("gpt", stream=stream_it)
            assert status == 502 and body["error"]["code"] == "upstream_forbidden"
            assert "127.0.0.1" not in body["error"]["message"]
        assert not upstream.seen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "[::ffff:127.0.0.1]"])
async def test_a_row_made_under_another_setting_is_not_called(redis_real, host):
    async with Backend() as upstream:
        async with replica(redis_real, upstream_allow="127.0.0.0/8, ::1, localhost") as broker:
            await make_llm(broker, "gpt", f"http://{host}:{upstream.port}/v1")
        async with replica(redis_real) as broker:
            status, body, _ = await broker.chat("gpt")
            assert status == 502 and body["error"]["code"] == "upstream_forbidden" and not upstream.seen


async def test_a_host_that_the_setting_names_is_called(redis_real, monkeypatch):
    async with replica(redis_real, upstream_allow="gpu.example") as broker, Backend() as upstream:
        resolving(monkeypatch, gpu_example=["127.0.0.1"])
        await make_llm(broker, "gpt", f"http://gpu.example:{upstream.port}/v1")
        assert (await broker.chat("gpt"))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{LLMS}/gpt", {"url": f"http://127.0.0.1:{upstream.port}/v1"})
        assert status == 422 and body["error"]["param"] == "url"


async def test_an_edit_is_looked_at_like_a_new_row(redis_at):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", "http://127.0.0.1:9/v1")
        assert (await broker.call("PATCH", f"{LLMS}/gpt", {"url": "http://10.0.0.1/v1"}))[0] == 422
        assert await broker.llm("gpt") == row


async def test_an_upstream_whose_certificate_is_not_trusted_gets_no_key(redis_real, tmp_path):
    heard = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = certificate_for("localhost", tmp_path)
    context.load_cert_chain(certificate.file, certificate.key)
    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
    async with server, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", f"https://localhost:{server.sockets[0].getsockname()[1]}/v1", key="sk-1")
        status, body, _ = await broker.chat("gpt")
        assert status == 502 and "certificate is not trusted" in body["error"]["message"] and not any(heard)
