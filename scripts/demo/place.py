"""Where a run of the story has its files: Redis' data, the publisher's config, logs.

A real run keeps them in the user's data directory, in a folder of its own, so
that it meets neither the tokens nor the rows of the user's real broker;
``--once`` has a temporary one, and so has a second run beside the first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.embedded import EmbeddedError, default_data_dir
from broker.embedded.ownership import owner_lock


class Place:
    def __init__(self, folder: Path, *, kept: bool) -> None:
        self.folder = folder
        self.kept = kept
        self.data = folder / "redis"
        self.config = folder / "publisher.json"
        self.session = folder / "session.json"
        self.backend_log = folder / "backend.log"

    @classmethod
    @contextmanager
    def of_user(cls) -> Iterator[Place]:
        place = cls(default_data_dir() / "run", kept=True)
        try:
            place.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            usable = not owner_lock(place.data).held()
        except (OSError, EmbeddedError):
            usable = False
        if usable:
            yield place
        else:
            with cls.temporary() as place:
                yield place

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Place]:
        folder = Path(tempfile.mkdtemp(prefix="reveille-run-"))
        try:
            yield cls(folder, kept=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
