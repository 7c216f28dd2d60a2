"""One broker, one publisher and one backend for all SDK tests."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from scripts.ports import free_ports
from tests.support import processes
from tests.support.places import ServerPlace


@dataclass
class World:
    """What the tests look at: the broker's and the backends' addresses, and the calls of the recipe. ``claude_port``:
    where ``claude-virtual`` has its server, when a test starts one."""

    broker_url: str
    backend_url: str
    hanging_url: str
    wakes: list[str]
    claude_port: int


@pytest.fixture(scope="module")
def world(real_server, tmp_path_factory):
    with (
        _failing_recipe() as (recipe_url, wakes),
        processes.stage(tmp_path_factory.mktemp("sdk"), ServerPlace(real_server)) as stage,
    ):
        settings = {"queue_length": 1, "files_dir": stage.folder / "files", "upstream_allow": "127.0.0.0/8"}
        broker, backend = stage.broker(**settings), stage.backend()
        broker.wait_ready()
        backend.wait_ready()
        # For those whose requests are translated, and can carry no script.
        breaking = stage.backend(tokens=5, break_after=2, delay_s=0.05)
        hanging, refusing = stage.backend(hang="stream"), stage.backend(status=429, retry_after="7")
        for scripted in (breaking, hanging, refusing):
            scripted.wait_ready()
        nobody_port, claude_port = free_ports(2)
        nobody = f"http://127.0.0.1:{nobody_port}/v1"
        stage.publisher(
            broker.url,
            {"name": "qwen/qwen3:8b", "model": "qwen3", "url": backend.url, "slots": 8},
            {"name": "narrow", "url": backend.url, "slots": 1},
            {"name": "asleep", "url": nobody, "wake": {"type": "http", "url": recipe_url}},
            {"name": "breaking", "url": breaking.url},
            {"name": "hanging", "url": hanging.url},
            {"name": "refusing", "url": refusing.url},
            {"name": "claude-virtual", "type": "anthropic", "model": "claude-a", "url": f"http://127.0.0.1:{claude_port}", "slots": 8},
        ).wait_ready()
        yield World(broker.url, backend.url, hanging.url, wakes, claude_port)


@contextmanager
def _failing_recipe() -> Iterator[tuple[str, list[str]]]:
    calls: list[str] = []

    class Recipe(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.append(self.path)
            self.send_response(500)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Recipe) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/wake", calls
        finally:
            server.shutdown()
            thread.join()
