"""A word as it is typed into a shell: for the commands that messages tell people to run.

Quoted only where it must be. Nothing is run by it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys


def typed(word: str | os.PathLike[str]) -> str:
    text = os.fspath(word)
    return subprocess.list2cmdline([text]) if sys.platform == "win32" else shlex.quote(text)
