"""A terminal, or a pipe, that is gone: what was still to be written is let go, and changes no exit code."""

from __future__ import annotations

import os
from typing import TextIO


def let_go(stream: TextIO) -> None:
    """What cannot be written any more goes nowhere; else Python tries it again at its end, and ends with 120."""
    try:
        stream.flush()
    except ValueError:  # closed
        return
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
