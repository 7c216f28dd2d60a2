"""The broker's address, or several, and what belongs to each."""

import pytest

from publisher.config.values import BrokerAddress
from tests.publisher.config.writing import complaint, read


def brokers(folder, **fields):
    return read(folder, fields).brokers


def test_one_broker_has_everything_beside_it(tmp_path):
    (tmp_path / "t").write_text("t0k\n")
    told = brokers(tmp_path, broker="https://b", tokenFile="t", caFile="ca.pem", proxy="http://u:p@proxy:3128")
    assert told == (BrokerAddress("https://b", "t0k", str(tmp_path / "ca.pem"), "http://u:p@proxy:3128"),)
    assert "t0k" not in repr(told) and "u:p" not in repr(told)


def test_several_brokers_each_have_their_own(tmp_path):
    told = brokers(tmp_path, brokers=[{"url": "https://a", "token": "x", "proxy": "none"}, {"url": "https://b", "caFile": "/c"}])
    assert told == (BrokerAddress("https://a", "x", None, "none"), BrokerAddress("https://b", None, "/c", None))


def test_no_broker_is_none(tmp_path):
    assert brokers(tmp_path) == ()


def test_a_token_without_an_address_waits_for_one_from_the_command_line(tmp_path):
    assert brokers(tmp_path, token="x") == (BrokerAddress("", "x"),)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"broker": "http://a", "brokers": [{"url": "http://b"}]}, "broker: stands beside brokers: put it into one of those"),
        ({"token": "k3y", "brokers": [{"url": "http://b"}]}, "token: stands beside brokers: put it into one of those"),
        ({"brokers": []}, "brokers: must hold at least one broker"),
        ({"brokers": [{"token": "k3y"}]}, "brokers[0]: url: is missing"),
        ({"brokers": [{"url": "http://b"}, {"url": "http://b/"}]}, "brokers[1]: url: brokers[0].url has the same"),
        ({"brokers": [{"url": "b"}]}, 'brokers[0]: url: must be an address like "https://broker.example"'),
        ({"broker": "http://a:b"}, "broker: is not an address that can be called: see its host and port"),
        ({"broker": "http://me:k3y@a"}, "broker: must hold no user and no password: a token says who publishes"),
        ({"brokers": [{"url": "http://a/?k3y"}]},
         "brokers[0]: url: must end before the ? or #: only its host, its port and a path can count"),
        ({"broker": "http://a/#k3y"}, "broker: must end before the ? or #: only its host, its port and a path can count"),
        ({"broker": "http://a", "token": "$k3y"},
         "token: is taken as it stands: an environment variable is written ${NAME}, with braces"),
        ({"brokers": [{"url": "http://a", "token": "$k3y"}]},
         "brokers[0]: token: is taken as it stands: an environment variable is written ${NAME}, with braces"),
        ({"broker": "http://a", "token": "${k3y:-none}"},
         'token: holds a ${ without the name of a variable and a }; write $${ for the text "${" itself'),
        ({"broker": "http://a", "token": "${k3y"},
         'token: holds a ${ without the name of a variable and a }; write $${ for the text "${" itself'),
        ({"broker": "http://a", "token": "k3y", "tokenFile": "x"}, "tokenFile: stands beside token: only one of them can count"),
        ({"broker": "http://a", "proxy": "socks5://p:k3y@h:1"},
         'proxy: must be an address like "http://proxy.example:3128", or "none"'),
        ({"broker": "http://a", "proxy": "http://p:k3y@h:99999"},
         "proxy: is not an address that can be called: see its host and port"),
        ({"broker": "http://a", "token": "k3y\nx"}, "token: must be one line without control characters"),
        ({"broker": "http://a", "tokens": "k3y"}, 'tokens: is not a known field; did you mean "token"?'),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, fields, said):
    assert complaint(tmp_path, fields) == f"publisher.json:1: {said}"


def test_a_token_file_that_cannot_be_used_is_named(tmp_path):
    said = complaint(tmp_path, {"broker": "http://a", "tokenFile": "nothing"})
    assert said == f"publisher.json:1: tokenFile: {tmp_path / 'nothing'} cannot be read: No such file or directory"
