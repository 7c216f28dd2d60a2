"""What an installation takes on disk: the packages that Reveille needs, nothing else.

Counted from the installed packages' own file lists, following requirements from
pyproject.toml (with the embedded server), so that the test tools which share a
developer's environment, pip and setuptools do not count.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import tomllib

_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
    """The names required, each with the extras asked of it."""
    names = {}
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        extra = _EXTRA.search(marker)
        if extra and extra[1] not in extras:
            continue
        name = _NAME.match(wanted.strip())[0]
        inner = re.search(r"\[([^\]]*)\]", wanted)
        names[_plain(name)] = frozenset(inner[1].replace(" ", "").split(",")) if inner else frozenset()
    return names


def footprint(project: pathlib.Path) -> dict:
    """MB of every package, largest first, and their sum.

    A requirement for other systems or Pythons is not installed here, hence its
    marker needs no evaluation: what is not there does not count.
    """
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    queue = _needed(declared["dependencies"] + declared["optional-dependencies"]["embedded"])
    sizes: dict[str, float] = {}
    while queue:
        name, extras = queue.popitem()
        if name in sizes:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes[name] = sum(_size(package.locate_file(file)) for file in package.files or ()) / 1e6
        queue |= _needed(package.requires or [], extras)
    own = [path for room in ("broker", "publisher") for path in (project / room).rglob("*")]
    sizes["reveille"] = sum(_size(path) for path in own) / 1e6
    ordered = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    return {"total_mb": sum(sizes.values()), "packages": ordered}


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
