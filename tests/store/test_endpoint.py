"""Finding the node that serves a key now, on real servers of every kind."""

import asyncio
import contextlib
import warnings

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.store.address import parse
from broker.store.endpoint import NoEndpoint, _advertised_host, client, resolve
from tests.support.servers import SLOTS, cluster, sentinel, single_server
from tests.support.tls import tls_server

KEY = "rv:{main}:llms"


def where(url: str, key: str = KEY) -> str:
    return str(asyncio.run(resolve(parse(url), key)))


def written_and_read(url: str) -> bytes:
    async def both() -> bytes:
        async with opened(url) as cold:
            await cold.set(KEY, "here")
            return await cold.get(KEY)

    return asyncio.run(both())


@contextlib.asynccontextmanager
async def opened(url: str, **options):
    cold = client(parse(url), **options)
    try:
        yield cold
    finally:
        await cold.aclose()


def test_one_server_is_itself():
    assert where("redis://h:1/2") == "h:1"
    assert where("unix:///a.sock") == "/a.sock"


def test_an_endpoint_carries_credentials_but_does_not_show_them():
    endpoint = asyncio.run(resolve(parse("rediss://user:s3cret@h/3"), KEY))
    assert (endpoint.username, endpoint.password, endpoint.db) == ("user", "s3cret", 3)
    assert endpoint.ssl is not None and "s3cret" not in repr(endpoint)


def test_a_cluster_key_resolves_to_the_owner_of_its_slot_also_after_it_moved(tmp_path):
    with cluster(tmp_path) as three:
        for key in ("a", "b", "c", "{x}:1", KEY):
            assert where(three.url, key) == f"127.0.0.1:{three.owner(key_slot(key.encode())).port}"
        assert written_and_read(three.url) == b"here"

        slot = key_slot(KEY.encode())
        target = next(node for node in three.nodes if node is not three.owner(slot))
        three.move_slot(slot, target)

        assert where(three.url) == f"127.0.0.1:{target.port}"
        assert target.ask("GET", KEY) == b"here"
        assert written_and_read(three.url) == b"here"


def test_a_cluster_answers_while_one_of_its_seeds_is_dead(tmp_path):
    with cluster(tmp_path) as three:
        dead = three.owner(SLOTS - 1)
        dead.kill()
        slot_elsewhere = key_slot(b"b")
        assert three.owner(slot_elsewhere) is not dead
        assert where(three.url, "b").startswith("127.0.0.1:")


def test_after_a_failover_the_sentinels_lead_to_the_new_primary(tmp_path):
    with sentinel(tmp_path) as pair:
        assert where(pair.url) == f"127.0.0.1:{pair.primary.port}"
        assert written_and_read(pair.url) == b"here"

        promoted = pair.kill_primary()

        assert where(pair.url) == f"127.0.0.1:{promoted.port}"
        assert written_and_read(pair.url) == b"here"


def test_a_sentinel_that_does_not_know_the_primary_is_named_in_the_error(tmp_path):
    with sentinel(tmp_path) as pair, pytest.raises(NoEndpoint, match="knows no primary 'other'"):
        where(pair.url.replace("/main", "/other"))


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:1/main", "redis+cluster://127.0.0.1:1"]
)
def test_when_nobody_answers_the_error_says_who_was_asked(url):
    with pytest.raises(NoEndpoint, match=r"127\.0\.0\.1:1"):
        where(url)


def test_cluster_nodes_that_do_not_know_their_name_are_where_they_were_asked():
    assert _advertised_host([b"", 7000], asked="seed") == "seed"
    assert _advertised_host([None, 7000, b"id", []], asked="seed") == "seed"
    assert _advertised_host([b"?", 7000, b"id", []], asked="seed") == "seed"
    assert _advertised_host([b"?", 7000, b"id", [b"ip", b"10.0.0.1"]], asked="seed") == "10.0.0.1"
    assert _advertised_host([b"10.0.0.2", 7000], asked="seed") == "10.0.0.2"


def test_a_server_behind_tls_is_reached_and_its_certificate_checked(tmp_path):
    with tls_server(tmp_path) as secured:
        assert written_and_read(secured.url) == b"here"
        assert written_and_read(f"rediss://127.0.0.1:{secured.port}?ssl_cert_reqs=none") == b"here"
        with pytest.raises(RedisConnectionError):
            written_and_read(f"rediss://localhost:{secured.port}")
        with pytest.raises(RedisConnectionError):
            written_and_read(secured.url.replace("localhost", "127.0.0.1"))


def test_our_own_connection_uses_the_same_tls(tmp_path):
    async def ping(url: str) -> bytes:
        endpoint = await resolve(parse(url), KEY)
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=endpoint.ssl
        )
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    with tls_server(tmp_path) as secured:
        assert asyncio.run(ping(secured.url)) == b"+PONG\r\n"


def test_a_command_that_timed_out_is_never_repeated(tmp_path):
    async def push_into_a_stall(server) -> None:
        async with opened(server.url, timeout_s=0.2) as cold:
            await cold.ping()
            server.stop()
            with pytest.raises(RedisTimeoutError):
                await cold.rpush("list", "once")
            server.cont()

    with single_server(tmp_path) as server:
        asyncio.run(push_into_a_stall(server))
        assert server.ask("LLEN", "list") == 1


def test_a_closed_client_leaves_nothing_open(tmp_path):
    with sentinel(tmp_path) as pair, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        written_and_read(pair.url)
