"""What systemd hears of the start, on a socket of the test's own."""

import os
import socket
import sys

import pytest

from publisher.unit.notify import notify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such sockets on Windows")


@pytest.fixture
def heard(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ear


def test_systemd_hears_each_state(heard):
    notify("READY=1\nSTATUS=registered as ü")
    notify("STOPPING=1")
    assert heard.recv(999).decode() == "READY=1\nSTATUS=registered as ü"
    assert heard.recv(999) == b"STOPPING=1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
def test_an_abstract_socket_is_reached_too(monkeypatch):
    name = f"notify-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name)
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("READY=1")
        assert ear.recv(99) == b"READY=1"


@pytest.mark.parametrize("path", [None, "", "/no/such/socket", "@nobody-listens", "relative", "vsock:2:1", "/" + "x" * 300])
def test_nobody_who_listens_is_no_error(monkeypatch, path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if path is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1")


def test_a_full_queue_holds_nothing_up(heard):
    for _ in range(2000):
        notify("STATUS=" + "x" * 1000)
    assert heard.recv(9999).startswith(b"STATUS=")
