"""What a Redis promises: read from real servers, judged on made-up facts."""

import asyncio
import json
import time

import pytest

from broker.store.address import parse
from broker.store.durability import examine
from broker.store.endpoint import client
from broker.store.verdict import ERROR, OK, WARN, Facts, Promise, findings_of, promise_of
from tests.support.servers import cluster, sentinel, single_server

HEALTHY = {
    "redis_version": "7.0.15",
    "role": "master",
    "aof_enabled": 1,
    "maxmemory": 100,
    "maxmemory_policy": "noeviction",
    "used_memory": 50,
}
EVERYSEC = {"appendfsync": "everysec", "save": "", "stop-writes-on-bgsave-error": "yes"}


def report_on(url: str, **options):
    async def look():
        cold = client(parse(url))
        try:
            return await examine(cold, **options)
        finally:
            await cold.aclose()

    return asyncio.run(look())


def judged(*, ahead_s: float = 0.0, config: dict | None = None, **info) -> list:
    facts = Facts("", HEALTHY | info, EVERYSEC if config is None else config, ahead_s)
    return [finding for finding in findings_of(facts) if finding.severity != OK]


def test_a_durable_server_has_nothing_to_complain_about(tmp_path):
    with single_server(tmp_path) as server:
        report = report_on(server.url)
    assert (report.mode, report.severity) == ("single", OK)
    assert report.server.startswith(("Valkey ", "Redis "))
    assert "two seconds" in report.promise
    assert not any(finding.remedy for finding in report.findings)
    assert json.loads(json.dumps(report.as_dict()))["severity"] == OK


def test_the_report_reads_as_text_and_says_whether_anything_is_broken(tmp_path):
    with single_server(tmp_path) as server:
        fine = report_on(server.url)
        server.ask("CONFIG", "SET", "appendonly", "no")
        broken = report_on(server.url)
    assert not fine.broken and fine.promise in fine.as_text()
    assert broken.broken and "error" in broken.as_text() and "appendonly yes" in broken.as_text()
    assert "\x1b[" not in broken.as_text() and "\x1b[31m" in broken.as_text(colour=True)


def test_the_promise_follows_the_configuration(tmp_path):
    with single_server(tmp_path) as server:
        for setting, value, promised in (
            ("appendfsync", "always", "and of the machine"),
            ("appendfsync", "no", "half minute"),
            ("appendonly", "no", "Nothing is kept"),
            ("save", "60 1", "last snapshot"),
        ):
            server.ask("CONFIG", "SET", setting, value)
            assert promised in report_on(server.url).promise


def test_a_server_that_forbids_config_is_judged_by_what_it_tells(tmp_path):
    with single_server(tmp_path) as server:
        server.ask("ACL", "SETUSER", "default", "-config")
        report = report_on(server.url)
    assert report.severity == OK and "not known" in report.promise


def test_a_full_server_that_evicts_is_an_error(tmp_path):
    with single_server(tmp_path, "--maxmemory", "1mb") as server:
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        report = report_on(server.url)
    errors = [finding for finding in report.findings if finding.severity == ERROR]
    assert any("allkeys-lru" in error.text and "noeviction" in error.remedy for error in errors)


def test_a_clock_that_differs_is_measured(tmp_path):
    with single_server(tmp_path) as server:
        report = report_on(server.url, now=lambda: time.time() + 3600)
    assert any("3600.0 s behind ours" in finding.text for finding in report.findings)


def test_every_primary_of_a_cluster_is_looked_at(tmp_path):
    with cluster(tmp_path) as three:
        report = report_on(three.url)
        assert report.mode == "cluster" and "Nothing is kept" in report.promise
        for node in three.nodes:
            assert any(f":{node.port}: it keeps nothing" in f.text for f in report.findings)

        mistaken = report_on(three.nodes[0].url)
        assert any("redis+cluster://" in finding.remedy for finding in mistaken.findings)


def test_behind_sentinels_the_failover_is_part_of_the_promise_and_a_replica_an_error(tmp_path):
    with sentinel(tmp_path) as pair:
        report = report_on(pair.url)
        assert report.mode == "sentinel" and "failover" in report.promise
        replica = next(server for server in pair.data if server is not pair.primary)
        assert any("read-only replica" in f.text for f in report_on(replica.url).findings)


@pytest.mark.parametrize(
    ("info", "severity", "said"),
    [
        ({"redis_version": "6.2.14"}, ERROR, "older than 7.0"),
        ({"valkey_version": "7.1.9"}, ERROR, "older than 7.2"),
        ({"redis_version": "unknown"}, ERROR, "older than"),
        ({"used_memory": 81}, WARN, "81%"),
        ({"used_memory": 100}, ERROR, "refuses new work"),
        ({"maxmemory": 0, "total_system_memory": 60}, WARN, "83%"),
        ({"maxmemory_policy": "volatile-ttl"}, ERROR, "volatile-ttl"),
        ({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, WARN, "would throw"),
        ({"maxmemory_policy": None}, WARN, "does not tell"),
        ({"aof_last_write_status": "err"}, ERROR, "append-only file failed"),
        ({"aof_last_bgrewrite_status": "err"}, WARN, "could not be rewritten"),
        ({"rdb_last_bgsave_status": "err"}, WARN, "last snapshot failed"),
        ({"loading": 1}, WARN, "loading"),
        ({"role": "slave", "master_host": "a", "master_port": 1}, ERROR, "replica of a:1"),
        ({"aof_enabled": 0}, ERROR, "nothing on disk"),
    ],
)
def test_what_is_wrong_is_said_once_with_a_remedy(info, severity, said):
    (finding,) = judged(**info)
    assert finding.severity == severity and said in finding.text and finding.remedy


def test_a_failed_snapshot_that_stops_writes_is_an_error():
    snapshots = EVERYSEC | {"save": "60 1"}
    (finding,) = judged(config=snapshots, rdb_last_bgsave_status="err")
    assert finding.severity == ERROR and "refuses writes" in finding.text
    (finding,) = judged(
        config=snapshots | {"stop-writes-on-bgsave-error": "no"}, rdb_last_bgsave_status="err"
    )
    assert finding.severity == WARN


def test_without_config_a_past_snapshot_is_taken_for_a_habit():
    assert promise_of(Facts("", {"rdb_saves": 3}, {}, 0.0)) is Promise.SNAPSHOTS
    assert promise_of(Facts("", {"rdb_saves": 0}, {}, 0.0)) is Promise.NOTHING


def test_a_clock_difference_is_a_warning_in_both_directions():
    assert "5.0 s ahead" in judged(ahead_s=5)[0].text
    assert "5.0 s behind" in judged(ahead_s=-5)[0].text
    assert judged(ahead_s=0.5) == []
