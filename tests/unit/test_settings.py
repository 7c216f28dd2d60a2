"""Settings: the contract's defaults, where values come from, and what a wrong one is told."""

from __future__ import annotations

import pytest

from broker.settings import BadSettings, Settings, variable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat_seconds", 30), ("stale_seconds", 90), ("expire_seconds", 14_400), ("sweep_seconds", 60),
        ("reconnect_grace_seconds", 5), ("accept_seconds", 10), ("wake_limit_seconds", 600), ("queue_wait_seconds", 60),
        ("deadline_seconds", 600), ("idle_seconds", 60), ("comment_first_seconds", 5), ("comment_every_seconds", 15),
        ("inline_request_bytes", 1_000_000), ("adoption", "owner"), ("host", "127.0.0.1"), ("auth", "auto"), ("cors_origins", ""),
    ],
)
def test_the_defaults_are_the_contracts(name, value):
    assert getattr(Settings.load({}), name) == value


def test_a_channel_is_commented_at_least_every_fifteen_seconds():
    assert Settings.load({}).channel_ping_seconds <= 15


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_an_environment_variable(name):
    text = {"auth": "required", "adoption": "any", "resumable": "always", "log_format": "json", "log_level": "error", "port": "7", "redis_url": "redis://x"}.get(name, "7")
    settings = Settings.load({variable(name): text})
    assert getattr(settings, name) != Settings.model_fields[name].default
    assert str(getattr(settings, name)).removesuffix(".0") == text


def test_names_that_platforms_set_are_used_as_they_are():
    settings = Settings.load({"PORT": "9000", "HOST": "::1", "REDIS_URL": "redis://r"})
    assert (settings.port, settings.host, settings.redis_url) == (9000, "::1", "redis://r")


def test_flags_come_before_the_environment():
    assert Settings.load({"PORT": "9000"}, port=1234, host=None).port == 1234


def test_an_empty_variable_is_as_if_it_were_not_there():
    assert Settings.load({"BROKER_STALE_SECONDS": "", "PORT": ""}).stale_seconds == 90


def test_a_value_can_come_from_a_file(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("redis://:pass@r\n")
    assert Settings.load({"REDIS_URL_FILE": str(secret)}).redis_url == "redis://:pass@r"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadSettings, match=r"REDIS_URL_FILE.*missing"):
        Settings.load({"REDIS_URL_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BROKER_STALE_SECONDS", "soon"), ("BROKER_STALE_SECONDS", "0"), ("BROKER_STALE_SECONDS", "-1"), ("PORT", "70000"), ("PORT", "x"),
        ("BROKER_AUTH", "none"), ("BROKER_ADOPTION", "all"), ("BROKER_NAMESPACE", "a b"), ("BROKER_NAMESPACE", "{x}"), ("BROKER_QUEUE_LENGTH", "0"),
        ("BROKER_STALE_SECONDS", "nan"), ("BROKER_STALE_SECONDS", "inf"), ("BROKER_RECONNECT_GRACE_SECONDS", "-0.1"),
        ("BROKER_RECONNECT_GRACE_SECONDS", "inf"),
    ],
)
def test_an_impossible_value_names_the_variable_and_the_value(name, text):
    with pytest.raises(BadSettings) as refused:
        Settings.load({name: text})
    assert name in str(refused.value) and repr(text) in str(refused.value)


def test_grace_may_be_zero():
    assert Settings.load({"BROKER_RECONNECT_GRACE_SECONDS": "0"}).reconnect_grace_seconds == 0


def test_other_variables_do_not_matter():
    assert Settings.load({"BROKER_URL": "http://x", "BROKER_TOKEN": "t", "PATH": "/bin"}) == Settings.load({})
