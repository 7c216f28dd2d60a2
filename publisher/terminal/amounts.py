"""Times, counts and little bars, short enough for a table or a line."""

from __future__ import annotations


def seconds(s: float) -> str:
    """``0.4s`` · ``12s`` · ``3m05s`` · ``2h05m`` · ``3d4h``"""
    s = max(s, 0.0)
    if s < 9.95:
        return f"{s:.1f}s"
    whole = round(s)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def coarse(s: float) -> str:
    """The same without what changes all the time: whole seconds, and above a minute whole minutes."""
    s = max(s, 0.0)
    if s < 60:
        return f"{int(s)}s"
    if s < 3600:
        return f"{int(s) // 60}m"
    return seconds(int(s) // 60 * 60)


def count(n: float) -> str:
    """``950`` · ``12.3k`` · ``4.0M``"""
    if n < 10_000:
        return f"{n:.0f}"
    if n < 999_950:
        return f"{n / 1000:.1f}k"
    return f"{n / 1_000_000:.1f}M"


def bar(done: float, total: float, cells: int, full: str, rest: str) -> str:
    """``done`` of ``total``; what has begun is never shown as nothing."""
    if total <= 0 or cells <= 0:
        return ""
    filled = min(cells, max(round(done / total * cells), 1 if done > 0 else 0))
    return full * filled + rest * (cells - filled)
