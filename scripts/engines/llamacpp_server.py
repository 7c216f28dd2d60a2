"""llama.cpp's own HTTP server on one port, for as long as somebody holds the leash.

Says one line on its standard output when it is ready; llama.cpp's log goes to
standard error. The tiny model is made when its file is not there yet.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

MOST_TOKENS = 24
SLOTS = 4
CONTEXT = 4096


def main() -> None:
    arguments = argparse.ArgumentParser(description="llama.cpp's HTTP server with a tiny random model.")
    arguments.add_argument("--model", type=Path, required=True, help="the model's file; made if it is not there")
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--leash", help="end when nobody holds this pipe open any more")
    told = arguments.parse_args()
    # Its log goes to both outputs, and the first line of ours says that it is ready.
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if not told.model.exists():
        from tiny_model import write_tiny_model

        write_tiny_model(told.model)
    server = _serve(told.model, told.port)
    print(f"llama.cpp listens on {server.listening_address}/v1", file=ready, flush=True)
    if told.leash:
        with open(told.leash, "rb") as leash:
            leash.read()
    else:
        sys.stdin.read()
    # The C++ server has nothing to save, and its threads need not be waited for.
    os._exit(0)


def _serve(model: Path, port: int):
    import xllamacpp

    told = xllamacpp.CommonParams()
    told.model.path = str(model)
    told.n_ctx = CONTEXT
    told.n_parallel = SLOTS
    told.n_gpu_layers = 0
    told.n_predict = MOST_TOKENS
    told.sampling.seed = 7
    told.hostnames = ["127.0.0.1"]
    told.port = port
    return xllamacpp.Server(told)


if __name__ == "__main__":
    main()
