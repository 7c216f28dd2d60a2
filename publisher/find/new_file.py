"""Writes the new config file and the secrets beside it: whole or not at all, for the user alone.

Each file is written beside its place and moved there. The config is read as ``publisher
run`` would read it before it takes its place, so that nothing unusable is left behind.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from publisher.config.mistake import Mistake
from publisher.config.secrets import contents
from publisher.config.values import ConfigError


def check_free(path: Path, force: bool) -> None:
    if os.path.lexists(path) and not force:
        raise ConfigError(f"{path} is there already: edit it, or replace it with --force")


def secret_in(path: Path) -> str:
    """As ``publisher run`` will read it."""
    try:
        return contents(path)
    except Mistake as mistake:
        raise ConfigError(mistake.text) from None


def write_new(path: Path, text: str, secrets: Mapping[Path, str], force: bool) -> None:
    """Raises ``ConfigError``; then nothing new is left."""
    from publisher.config.file import read_config

    path = path.resolve() if path.is_symlink() else path
    with contextlib.ExitStack() as undo:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place, secret in secrets.items():
                undo.callback(_restore, place, place.read_bytes() if place.is_file() else None)
                _place(place, secret + "\n", force)
            # The same ending and folder as the file itself: both matter when it is read.
            beside = _beside(path, text)
            undo.callback(_remove, beside)
            try:
                read_config(beside)
            except ConfigError as err:
                raise ConfigError(str(err).replace(beside.name, path.name)) from None
            _move(beside, path, force)
        except OSError as err:
            raise ConfigError(f"{path} cannot be written: {err.strerror or err}") from None
        undo.pop_all()


def _place(path: Path, text: str, force: bool) -> None:
    beside = _beside(path, text)
    try:
        _move(beside, path, force)
    except BaseException:
        _remove(beside)
        raise


def _beside(path: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return Path(name)


def _move(beside: Path, path: Path, force: bool) -> None:
    check_free(path, force)
    os.replace(beside, path)


def _restore(path: Path, before: bytes | None) -> None:
    if before is None:
        _remove(path)
    else:
        with contextlib.suppress(OSError):
            path.write_bytes(before)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
