"""Whether a file could be written, now or once its folder is made. It writes nothing."""

from __future__ import annotations

import os
from pathlib import Path


def why_not_writable(file: Path) -> str:
    """Empty when it can be written."""
    at = file
    while not os.path.lexists(at) and at != at.parent:
        at = at.parent
    if at != file and not at.is_dir():
        return f"{at} is not a folder"
    if at == file and at.is_dir():
        return f"{at} is a folder"
    if not os.access(at, os.W_OK | os.X_OK if at.is_dir() else os.W_OK):
        return f"{at} may not be written"
    return ""
