"""Which addresses are looked at, and what people may write for one."""

import pytest

from publisher.config.values import ConfigError
from publisher.find.addresses import PORTS, bare, checked, ollama_host, root_of, targets


@pytest.mark.parametrize(
    ("value", "first"),
    [
        ("", None),
        ("   ", None),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("127.0.0.1:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("localhost", "http://127.0.0.1:11434"),
        ("'gpu.lan'", "http://gpu.lan:11434"),
        ("http://gpu.lan", "http://gpu.lan:80"),
        ("https://gpu.lan", "https://gpu.lan:443"),
        ("http://gpu.lan:8000/path", "http://gpu.lan:8000"),
        ("[::1]:7000", "http://[::1]:7000"),
        ("[fd00::1]:7000", "http://[fd00::1]:7000"),
        ("fd00::1", "http://[fd00::1]:11434"),
        ("[::]", "http://127.0.0.1:11434"),
        ("unix:///run/x", None),
        ("host:notaport", None),
        ("me@host", "http://host:11434"),
        ("a b", None),
    ],
)
def test_ollamas_own_variable_is_read_by_its_own_rules(value, first):
    target = ollama_host(value)
    assert (target and target[0]) == first


def test_this_machine_is_looked_at_on_every_usual_port_and_once_each(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:11434")
    assert [first for first, _ in targets(None, None)] == [f"http://127.0.0.1:{port}" for port in PORTS]
    monkeypatch.setenv("OLLAMA_HOST", "gpu.lan")
    assert targets(None, None)[-1] == ("http://gpu.lan:11434",)
    assert targets(["gpu.lan"], [1]) == [("http://gpu.lan:1",)]
    assert targets(["localhost", "127.0.0.1"], [1]) == [("http://127.0.0.1:1", "http://[::1]:1")]


@pytest.mark.parametrize(
    "url", ["", "broker", "ftp://x", "http://", "http://:80", "http://x:99999", "http://[x", "http://x:0"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="must be an address like"):
        checked(url)


def test_a_refused_address_is_named_without_its_secrets():
    with pytest.raises(ConfigError) as told:
        checked("ftp://me:hush@x/y?key=hush")
    assert "hush" not in str(told.value) and "ftp://x/y" in str(told.value)
    assert bare("https://me:hush@x:1/y#hush") == "https://x:1/y"


def test_the_root_of_a_server_is_found_however_it_is_written():
    assert root_of("http://x:1/v1/") == "http://x:1"
    assert root_of("http://x:1/llm/v1?key=k") == "http://x:1/llm"
