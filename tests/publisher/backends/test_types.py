"""Which types there are, made from their name alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from publisher.backends.types import DEFAULT_URLS, TYPES, backend_of
from publisher.config.values import ConfigError
from tests.publisher.backends.calling import calling


def test_the_types_are_known_without_loading_an_http_client():
    code = "import publisher.backends.types, sys; print([m for m in ('aiohttp', 'yarl', 'pydantic') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_every_type_but_openai_has_a_place_where_it_usually_is():
    assert set(DEFAULT_URLS) == set(TYPES) - {"openai"}


@pytest.mark.parametrize("type_", [one for one in TYPES if one != "anthropic"])
async def test_a_type_is_made_from_its_name(type_):
    async with calling(type_, "http://127.0.0.1:1/v1") as backend:
        assert backend.url == "http://127.0.0.1:1/v1"


def test_a_type_that_is_not_known_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match='type "olama" is not known; known are openai, ollama, vllm'):
        backend_of("olama", None, "http://h", None, 1)


@pytest.mark.parametrize("url", ["localhost:11434x", "http://", "http://h:99999", "http://h:abc", ""])
async def test_a_url_that_is_no_address_is_refused_with_an_example(url):
    with pytest.raises(ConfigError, match="must be an address, as http://"):
        async with calling("ollama", url):
            pass


@pytest.mark.parametrize("type_", [one for one in TYPES if one != "anthropic"])
async def test_no_secret_of_the_address_is_in_the_backends_url(type_):
    async with calling(type_, "https://me:hunter2@h.example/llm/v1/?key=hunter3#x") as backend:
        assert backend.url == "https://h.example/llm/v1"
