"""Looking around: many ports at once, silent and hanging ones, IPv6, and the verb ``detect``."""

import asyncio
import json
import socket
import sys
import time

import pytest

from publisher.find.detect import detect, look
from scripts.ports import free_port
from tests.publisher.find.little import BROKER, HANG, Little, openai_list
from tests.publisher.find.running import ran, verb
from tests.support.engines import Ollama, VLLM


async def test_many_servers_are_found_in_the_ports_order():
    async with Ollama(["a"]) as one, VLLM(["b"]) as two, Little(BROKER) as broker:
        found = await detect(ports=[two.port, free_port(), broker.port, one.port])
        assert [(server.type, server.models) for server in found] == [("vllm", ("b",)), ("ollama", ("a:latest",))]


async def test_what_hangs_costs_two_answers_and_holds_up_nobody():
    async with Little({}, HANG) as hanging, Ollama(["a"]) as there:
        begun = time.monotonic()
        sight = await look(ports=[hanging.port, there.port], timeout_s=0.2)
        assert time.monotonic() - begun < 5
        assert [one.type for one in sight.found] == ["ollama"]
        assert sight.silent == [hanging.url] and len(hanging.seen) == 2


async def test_a_port_that_takes_connections_and_says_nothing_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sight = await look(ports=[mute.getsockname()[1]], timeout_s=0.1)
        assert not sight.found and len(sight.silent) == 1


async def test_a_port_that_speaks_no_http_is_nothing():
    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async with await asyncio.start_server(ssh, "127.0.0.1", 0) as server:
        assert await detect(ports=[server.sockets[0].getsockname()[1]]) == []


async def test_a_server_on_the_ipv6_loopback_only_is_found():
    if not _has_ipv6():
        pytest.skip("this machine has no ::1")
    async with Little({"/v1/models": openai_list("m")}, host="::1") as there:
        assert [one.url for one in await detect(ports=[there.port])] == [f"http://[::1]:{there.port}/v1"]


async def test_a_place_that_is_named_twice_is_found_once():
    if not _has_ipv6():
        pytest.skip("this machine has no ::1")
    async with Little({"/v1/models": openai_list("m")}, host="::1") as there:
        assert len(await detect(["localhost", "::1"], [there.port])) == 1


async def test_an_ollama_elsewhere_is_found_by_its_own_variable(monkeypatch):
    async with Ollama(["far"]) as there:
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{there.port}")
        monkeypatch.setattr("publisher.find.addresses.PORTS", (free_port(),))
        assert [one.models for one in await detect()] == [("far:latest",)]


async def test_nothing_is_followed_and_nothing_but_get_is_sent():
    async with Little({}) as elsewhere:
        async with Little({}, (307, "", {"Location": elsewhere.url + "/v1/models"})) as there:
            assert await detect(ports=[there.port]) == []
            assert not elsewhere.seen and {method for method, _, _ in there.seen} == {"GET"}


async def test_the_environments_proxy_is_not_asked(monkeypatch):
    async with Little({}) as proxy, Ollama(["a"]) as there:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert len(await detect(ports=[there.port])) == 1 and not proxy.seen


async def test_the_verb_prints_a_table():
    long = [f"model-{number}" for number in range(9)]
    async with Ollama(long) as one, VLLM(["b"], api_key="k") as two:
        done = await ran(*verb("detect", "--port", one.port, "--port", two.port))
        assert done.code == 0
        lines = done.out.splitlines()
        assert lines[0].split() == ["SERVER", "TYPE", "ADDRESS", "MODELS"]
        assert lines[1].startswith("Ollama 0.35.1") and lines[1].endswith("model-3:latest and 5 more")
        assert lines[2].split("  ")[-1] == "wants a key"


async def test_the_verb_prints_json():
    async with VLLM(["b"], slots=9) as there:
        done = await ran(*verb("detect", "--json", "--host", "127.0.0.1", "--port", there.port))
        assert json.loads(done.out) == [{
            "type": "vllm", "server": "vLLM 0.29.0", "url": there.url, "models": ["b"], "needsKey": False,
            "note": "", "slots": 9, "native": True,
        }]


async def test_nothing_found_ends_with_1_and_says_what_to_do():
    done = await ran(*verb("detect", "--port", free_port()))
    assert (done.code, done.out) == (1, "")
    assert "start one" in done.err and "--host" in done.err and len(done.err.splitlines()) == 1
    assert (await ran(*verb("detect", "--json", "--port", free_port()))).out.strip() == "[]"


async def test_a_silent_port_is_said_with_the_flag_that_helps():
    async with Little({}, HANG) as hanging:
        done = await ran(*verb("detect", "--timeout", "0.1", "--port", hanging.port))
        assert done.code == 1 and f"{hanging.url} did not answer in time" in done.err and "--timeout" in done.err


async def test_a_broker_is_named_as_one():
    async with Little(BROKER) as broker:
        done = await ran(*verb("detect", "--port", broker.port))
        assert done.code == 1 and f"A Reveille broker answers at {broker.url}" in done.err


@pytest.mark.parametrize("host", ["http://x", "a:80", "me@x", "a b"])
async def test_what_is_no_host_is_refused(host):
    done = await ran(*verb("detect", "--host", host))
    assert done.code == 2 and "must be a host's name" in done.err and len(done.err.splitlines()) == 1


async def test_names_from_a_server_cannot_command_the_terminal():
    async with Little({"/v1/models": openai_list("a\x1b]0;owned\x07b\u202e\nc")}) as there:
        done = await ran(*verb("detect", "--port", there.port))
        assert "\x1b" not in done.out and "\u202e" not in done.out and len(done.out.splitlines()) == 2


async def test_the_cli_loads_no_http_client_before_it_is_needed():
    heavy = ("aiohttp", "yaml", "rich", "pydantic")
    code = f"import sys, publisher.cli.find; print([m for m in {heavy} if m in sys.modules])"
    assert (await ran(sys.executable, "-c", code)).out.strip() == "[]"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
