"""LiteLLM's proxy as a contender: pinned, in a virtual environment of its own.

Installed once under the user's cache directory (some 600 MB). Run as its own
guide for production says: one worker, no database, no logging, no retries.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

from benchmark.contenders import Contender
from benchmark.cores import Cores
from benchmark.processes import BenchError, Yard
from ports import free_port

#: Not the newest: 1.109.1 pins a companion package that the index does not have.
VERSION = "1.106.2"
_KEY = "sk-bench-0123456789abcdef0123456789abcdef"
# A model name from its own price list: with an unknown one it is slower still.
_MODEL = "gpt-4o-mini"
_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "http://127.0.0.1:{backend}/v1", api_key: sk-none}}
litellm_settings: {{num_retries: 0, request_timeout: 600, telemetry: false}}
general_settings: {{master_key: {key}}}
"""
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONPATH": "",
    "VIRTUAL_ENV": "",
}


def installed() -> pathlib.Path:
    """The virtual environment with the pinned version, made if it is missing."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    place = cache / "reveille-bench" / f"litellm-{VERSION}"
    complete = place / "complete"
    if complete.exists():
        return place
    print(f"installing litellm[proxy]=={VERSION} into {place} (about 600 MB, once) …", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([place / "bin/pip", "install", "-q", f"litellm[proxy]=={VERSION}"], check=True)
    except subprocess.CalledProcessError as failure:
        raise BenchError(f"litellm could not be installed ({failure}); run without --litellm") from None
    complete.touch()
    return place


def litellm(yard: Yard, cores: Cores, backend: Contender) -> Contender:
    place, port = installed(), free_port()
    config = yard.directory / "litellm.yaml"
    config.write_text(_CONFIG.format(model=_MODEL, backend=backend.port, key=_KEY))
    command = [str(place / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
               "--num_workers", "1"]
    gateway = yard.start("litellm", command, cores={cores.gateway}, env=_ENVIRONMENT)
    contender = Contender("litellm", port, model=_MODEL, key=_KEY, parts={"gateway": gateway})
    contender.wait(120)
    return contender
