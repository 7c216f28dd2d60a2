"""llama.cpp's own HTTP server on one port, until it is told to end: ``llamacpp_server.py <model> <port>``.

Its log goes to standard output, as llama.cpp writes it.
"""

from __future__ import annotations

import signal
import sys

import xllamacpp

MOST_TOKENS = 24
SLOTS = 4
CONTEXT = 4096


def main() -> None:
    # The C++ server has nothing to save, and its threads need not be waited for.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    model, port = sys.argv[1:]
    server = _serve(model, int(port))
    print(f"llama.cpp listens on {server.listening_address}/v1", flush=True)
    signal.pause()


def _serve(model: str, port: int) -> xllamacpp.Server:
    told = xllamacpp.CommonParams()
    told.model.path = model
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
