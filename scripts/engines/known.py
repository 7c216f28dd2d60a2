"""The engines, each as its own documentation says it is started."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path

from engines.engine import Engine

HERE = Path(__file__).resolve().parent


def _make_gguf(environment: Path, folder: Path) -> None:
    _make(environment, "tiny_gguf.py", environment / "tiny-random.gguf")


def _make_transformers_model(environment: Path, folder: Path) -> None:
    # With no cache at all, `transformers serve` answers 500 when it is asked for its models.
    (environment / "cache" / "hub").mkdir(parents=True, exist_ok=True)
    _make(environment, "tiny_transformers.py", environment / "tiny-random")


def _make(environment: Path, script: str, model: Path) -> None:
    if not model.exists():
        subprocess.run([environment / "bin" / "python", HERE / script, model], check=True, capture_output=True, text=True)


def _write_litellm_config(environment: Path, folder: Path) -> None:
    """With a key that this run makes up: the proxy starts with none but a strong one."""
    key = f"sk-{secrets.token_hex(24)}"
    config = {
        "model_list": [{
            "model_name": "mock", "litellm_params": {
                "model": "openai/mock", "api_key": "none",
                "mock_response": "Good morning! I am the mock of a real proxy.",
            },
        }],
        "general_settings": {"master_key": key},
    }
    _write_secret(folder / "litellm.yaml", json.dumps(config))
    _write_secret(folder / "litellm.key", key)


def _write_secret(file: Path, text: str) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)


TRANSFORMERS = Engine(
    name="transformers",
    description="transformers serve with a tiny model of random weights: it answers nonsense",
    # It wants to be asked for the model by what it was started with.
    model="{environment}/tiny-random",
    environment_folder=".venv-engine-transformers",
    command="{environment}/bin/transformers",
    args=("serve", "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu", "{environment}/tiny-random"),
    env={"HF_HUB_OFFLINE": "1", "HF_HOME": "{environment}/cache"},
    max_wait_s=120,  # from a cold disk, torch alone takes most of a minute
    prepare=_make_transformers_model,
)

LITELLM = Engine(
    name="litellm",
    description="the litellm proxy with a canned answer",
    model="mock",
    environment_folder=".venv-engine-litellm",
    command="{environment}/bin/litellm",
    args=("--config", "{folder}/litellm.yaml", "--host", "127.0.0.1", "--port", "{port}", "--telemetry", "False"),
    env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    own={"apiKeyFile": "{folder}/litellm.key", "slots": 4},
    prepare=_write_litellm_config,
)

NODELLAMA = Engine(
    name="nodellama",
    description="llama.cpp, by node-llama-cpp, with a tiny model of random weights: it answers nonsense",
    model="tiny-random",
    environment_folder=".venv-engine-nodellama",
    command="{environment}/bin/node",
    args=(str(HERE / "nodellama_server.mjs"), "{environment}/node/node_modules", "{environment}/tiny-random.gguf", "{port}"),
    own={"slots": 2},
    prepare=_make_gguf,
)

LLAMACPP = Engine(
    name="llamacpp",
    description="llama.cpp's own server with a tiny model of random weights: it answers nonsense",
    model="tiny-random",
    environment_folder=".venv-engines",
    command="{environment}/bin/python",
    args=(str(HERE / "llamacpp_server.py"), "{environment}/tiny-random.gguf", "{port}"),
    own={"type": "llamacpp"},
    path="",
    prepare=_make_gguf,
)

ENGINES = {engine.name: engine for engine in (TRANSFORMERS, LITELLM, NODELLAMA, LLAMACPP)}
