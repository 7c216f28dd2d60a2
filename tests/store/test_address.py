"""Reading REDIS_URL: every form, every refusal, and no password in sight."""

import ssl

import pytest

from broker.store.address import CLUSTER, SENTINEL, SINGLE, BadRedisURL, Node, parse

SECRET = "s3cret"


def test_one_server_by_host_port_and_database():
    address = parse("redis://cache.internal:6380/2")
    assert (address.kind, address.nodes, address.db) == (SINGLE, (Node("cache.internal", 6380),), 2)
    assert address.tls is None


def test_left_out_ports_are_the_usual_ones():
    assert parse("redis://a").nodes == (Node("a", 6379),)
    assert parse("redis+sentinel://a,b/main").nodes == (Node("a", 26379), Node("b", 26379))
    assert parse("redis+cluster://a,b:7").nodes == (Node("a", 6379), Node("b", 7))


def test_ipv6_hosts_are_written_in_brackets():
    address = parse("redis+cluster://[::1]:7000,[fe80::2]")
    assert address.nodes == (Node("::1", 7000), Node("fe80::2", 6379))
    assert address.safe_url == "redis+cluster://[::1]:7000,[fe80::2]:6379"


def test_a_unix_socket_may_have_a_database_and_a_percent_encoded_path():
    address = parse("unix:///run/my%20redis.sock?db=3")
    assert (address.path, address.db, address.nodes) == ("/run/my redis.sock", 3, ())


def test_sentinels_name_their_primary_and_may_have_a_password_of_their_own():
    address = parse("redis+sentinel://:pw@a:1,b:2/main/4?sentinel_password=other")
    assert (address.kind, address.primary, address.db) == (SENTINEL, "main", 4)
    assert (address.password, address.sentinel_password) == ("pw", "other")


def test_a_cluster_has_seeds():
    assert parse("rediss+cluster://a:1,b:2").kind == CLUSTER
    assert parse("rediss+cluster://a:1,b:2").tls is not None


def test_passwords_are_percent_decoded():
    address = parse("redis://us%3Aer:p%40ss%2Fw%23d@h")
    assert (address.username, address.password) == ("us:er", "p@ss/w#d")


def test_a_password_may_be_an_option():
    assert parse("unix:///a.sock?password=pw").password == "pw"


def test_tls_options_reach_the_context():
    strict = parse("rediss://h").tls.context()
    assert strict.check_hostname and strict.verify_mode == ssl.CERT_REQUIRED
    lax = parse("rediss://h?ssl_cert_reqs=none").tls.context()
    assert not lax.check_hostname and lax.verify_mode == ssl.CERT_NONE
    nameless = parse("rediss://h?ssl_check_hostname=false").tls.context()
    assert not nameless.check_hostname and nameless.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@h/1",
        f"unix://:{SECRET}@/a.sock",
        f"redis+sentinel://:{SECRET}@a,b/main?sentinel_password={SECRET}",
        f"rediss+cluster://:{SECRET}@a,b",
        f"rediss://h?password={SECRET}&ssl_password={SECRET}",
    ],
)
def test_no_password_shows_in_any_form_of_an_address(url):
    address = parse(url)
    assert SECRET not in f"{address} {address!r} {address.safe_url}"
    assert address.password == SECRET


def test_the_safe_url_reads_back_as_the_same_place():
    for url in ("redis://a:1/2", "rediss://a:1", "unix:///a.sock?db=2", "redis+sentinel://a:1/m/1"):
        assert parse(url).safe_url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no scheme"),
        ("localhost:6379", "write redis://"),
        ("http://h", "http://"),
        ("redis+proxy://h", "redis+proxy://"),
        ("redis://", "is not a host"),
        ("redis://h:0", "is not a host"),
        ("redis://h:99999", "is not a host"),
        ("redis+cluster://a,,b", "is not a host"),
        ("redis://a,b", "redis+sentinel://"),
        ("redis+sentinel://a", "name of the primary"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis://h/one", "is a number"),
        ("redis://h/1/2", "after the host"),
        ("unix://relative.sock", "absolute path"),
        ("redis://h?timeout=3", "timeout"),
        ("redis://h?sentinel_password=x", "sentinel_password"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=maybe", "none, optional, required"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("rediss+cluster://h?ssl_ca_path=/certs", "ssl_ca_path"),
        ("redis://[::1", "not a URL"),
    ],
)
def test_a_bad_url_is_refused_with_what_to_write_instead(url, said):
    with pytest.raises(BadRedisURL, match="REDIS_URL") as refusal:
        parse(url)
    assert said in str(refusal.value)


@pytest.mark.parametrize("mark", ["/", "?", "#"])
def test_a_password_that_ends_the_host_early_is_refused_without_being_quoted(mark):
    with pytest.raises(BadRedisURL, match="percent-encode") as refusal:
        parse(f"redis://:{SECRET}{mark}rest@host:6379")
    assert SECRET not in str(refusal.value) and "rest@" not in str(refusal.value)
