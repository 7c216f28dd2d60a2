"""Who is measured: an address, a model name, and the processes behind it.

Direct, the bare pass-through and nginx are made here; `litellm.py` and
`reveille.py` make the others. A contender is started once and serves every cell.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field

from benchmark.cores import Cores
from benchmark.processes import Process, Yard
from benchmark.ready import answers, wait_until
from benchmark.shapes import CHAT, request_body
from ports import free_port

_NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log warn; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Contender:
    """`parts` are the processes whose CPU is told apart, the one under test first."""

    name: str
    port: int
    model: str = "bench"
    key: str = ""
    parts: dict[str, Process] = field(default_factory=dict)

    def complaint(self) -> str:
        """Empty when it answers a plain request."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return answers(f"http://127.0.0.1:{self.port}{CHAT}", request_body(self.model), headers)

    def wait(self, limit_s: float) -> float:
        return wait_until(self.complaint, for_processes=list(self.parts.values()), limit_s=limit_s)


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def direct(yard: Yard, cores: Cores) -> Contender:
    """The mock backend itself."""
    port = free_port()
    mock = yard.start("mock", python("benchmark.mock", str(port)), cores={cores.rest})
    contender = Contender("direct", port, parts={"mock": mock})
    contender.wait(10)
    return contender


def passthrough(yard: Yard, cores: Cores, backend: Contender) -> Contender:
    port = free_port()
    command = python("benchmark.passthrough", str(port), f"http://127.0.0.1:{backend.port}")
    gateway = yard.start("passthrough", command, cores={cores.gateway})
    contender = Contender("passthrough", port, parts={"gateway": gateway})
    contender.wait(10)
    return contender


def nginx_binary() -> str | None:
    """`$NGINX`, or the one that is installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return os.environ.get("NGINX") or shutil.which("nginx", path=path)


def nginx(yard: Yard, cores: Cores, backend: Contender, binary: str) -> Contender:
    port, directory = free_port(), yard.directory / "nginx"
    directory.mkdir()
    config = directory / "nginx.conf"
    # Started as root it would drop its worker to a user that cannot enter the directory.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(dir=directory, port=port, backend=backend.port, user=user))
    command = [binary, "-e", str(directory / "start.log"), "-p", str(directory), "-c", str(config)]
    gateway = yard.start("nginx", command, cores={cores.gateway})
    contender = Contender("nginx", port, parts={"gateway": gateway})
    contender.wait(10)
    return contender
