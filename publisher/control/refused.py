"""What a running publisher does not do, and why. It loads nothing."""

from __future__ import annotations


class Refused(Exception):
    """The text is one line for people."""
