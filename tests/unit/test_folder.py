"""The folder of files: whole on the disk or not there at all."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.folder import FilesUnavailable, Folder


@contextmanager
def a_disk_with_room_for(size: int) -> Iterator[None]:
    """No file may grow beyond it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_all_of_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    draft = await folder.begin("file-a")
    await draft.write(b"some words")
    synced: list[int] = []
    sync = os.fsync

    def look(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        assert Path(tmp_path / "file-a").exists() is (len(synced) > 1)
        sync(handle)

    monkeypatch.setattr(os, "fsync", look)
    await draft.keep()
    assert synced[0] == len(b"some words") and len(synced) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX")
async def test_a_full_disk_leaves_no_part_of_a_file(tmp_path):
    folder = Folder(tmp_path)
    for size in (500, 3 << 20):
        draft = await folder.begin("file-a")
        with a_disk_with_room_for(100):
            with pytest.raises(FilesUnavailable, match="BROKER_FILES_DIR"):
                await draft.write(b"x" * size)
                await draft.keep()
            await draft.drop()
        assert os.listdir(tmp_path) == []
