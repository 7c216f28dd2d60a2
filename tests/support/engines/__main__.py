"""One fake LLM server as a process; prints where it is as soon as it answers."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from tests.support.engines import KINDS, Engine


async def _serve(engine: Engine) -> None:
    async with engine:
        print(f"{engine.kind} at {engine.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="a fake LLM server")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", default="m", help="names, with commas between")
    parser.add_argument("--embeddings", default="", help="names of models that only embed")
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--api-key", default="")
    told = parser.parse_args()
    engine = KINDS[told.kind](
        [name for name in told.models.split(",") if name],
        embeddings=[name for name in told.embeddings.split(",") if name],
        port=told.port, load_s=told.load_seconds, api_key=told.api_key,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(engine))


if __name__ == "__main__":
    main()
