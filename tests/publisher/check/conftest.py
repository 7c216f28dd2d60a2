"""The folders that every check plays in; no proxy and no broker of this machine is in play."""

import pytest

from tests.publisher.control.serving import home

__all__ = ["home"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OLLAMA_NUM_PARALLEL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
