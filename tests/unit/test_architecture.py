"""The rules that the code's shape keeps: who may import whom, and what files say of themselves."""

from __future__ import annotations

import ast
import gc
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("broker/**/*.py"), *ROOT.glob("publisher/**/*.py")])
LUA = sorted(ROOT.glob("broker/store/lua/**/*.lua"))
#: Who starts a server or names it in its start-up.
STARTERS = {"broker/app.py", "broker/serve.py"}
_FAMILY = re.compile(r"P \.\. '([a-z-]+)(:?)(\w*)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """A file's syntax, read with the collector at rest.

    Garbage that complains when it is collected has a traceback printed, which parses too, and Python 3.11
    before 3.11.8 cannot parse within a parse (python/cpython#106905: "AST constructor recursion depth mismatch").
    """
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, relative ones in full; from a package also the name's own path."""
    package = name(path).removesuffix(".py").split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def importers(*modules: str) -> set[str]:
    """The files that import one of these modules, or anything below them."""
    return {
        name(path)
        for path in SOURCES
        if any(found == module or found.startswith(module + ".") for found in imports(path) for module in modules)
    }


def outside(files: set[str], *allowed: str) -> set[str]:
    return {file for file in files if not file.startswith(allowed)}


def test_only_the_edge_knows_aiohttps_server():
    assert not outside(importers("aiohttp.web", "aiohttp.web_protocol", "aiohttp_sse"), "broker/http/", *STARTERS)


def test_only_the_floor_knows_redis():
    assert not outside(importers("redis", "hiredis", "fakeredis"), "broker/store/", "broker/embedded/")


@pytest.mark.parametrize(
    ("room", "closed"),
    [
        ("broker/relay/", ("broker.http", "broker.chat", "broker.tools", "broker.batches", "broker.upstream", "broker.app", "broker.settings", "broker.commands")),
        ("broker/chat/", ("broker.http", "broker.app", "broker.settings", "broker.commands", "broker.serve")),
        ("broker/front_mcp/", ("broker.http", "broker.app", "broker.settings", "broker.commands")),
        ("broker/upstream/", ("broker.http", "broker.store", "broker.app", "broker.settings", "broker.commands")),
        ("broker/store/", ("broker.http", "broker.chat", "broker.relay", "broker.app", "broker.settings", "broker.commands")),
        ("broker/batches/", ("broker.http", "broker.upstream", "broker.app", "broker.settings", "broker.commands")),
        ("broker/embedded/", ("broker.http", "broker.relay", "broker.app", "broker.settings", "broker.commands")),
        ("broker/http/", ("broker.app", "broker.settings", "broker.commands", "broker.serve")),
    ],
)
def test_imports_point_one_way(room, closed):
    assert not {file for file in importers(*closed) if file.startswith(room)}


def test_wire_is_a_leaf():
    assert imports(ROOT / "broker/wire.py") <= {"__future__", "__future__.annotations", "typing", "typing.Annotated", "typing.Any", "msgspec"}


def test_dialects_are_a_leaf():
    """Both sides translate with them: nothing of a connection, a server or the rest of the broker."""
    for path in ROOT.glob("broker/dialects/*.py"):
        found = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
        assert found <= {"msgspec", "broker"}, name(path)
        assert all(module.startswith("broker.dialects") for module in imports(path) if module.startswith("broker")), name(path)


def test_the_publisher_knows_of_the_broker_only_its_wire_dialects_and_version():
    allowed = {"broker", "broker.__version__", "broker.wire", "broker.dialects"}
    for path in ROOT.glob("publisher/**/*.py"):
        found = {module for module in imports(path) if module.split(".")[0] == "broker"}
        assert all(module in allowed or module.startswith(("broker.wire.", "broker.dialects.")) for module in found), name(path)


def test_the_broker_knows_nothing_of_the_publisher():
    assert not {file for file in importers("publisher") if file.startswith("broker/")}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_is_short_and_says_what_it_holds(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 260
    assert ast.get_docstring(tree(path)) or not text.strip()


@pytest.mark.parametrize("path", [path for path in LUA if path.parent.name != "shared"], ids=name)
def test_a_script_has_a_header_with_its_arguments_and_answers(path):
    header = []
    for line in path.read_text().splitlines():
        if not line.startswith(("#!lua", "--")):
            break
        header.append(line)
    assert header[0].split() in (["#!lua"], ["#!lua", "flags=allow-oom"], ["#!lua", "flags=no-writes"])
    assert any(line.startswith("-- ARGV:") for line in header) and any(line.startswith("-- Returns:") for line in header)


def test_every_key_family_of_the_scripts_is_documented():
    documented = (ROOT / "broker/store/keys.py").read_text()
    for path in LUA:
        for family, colon, _ in _FAMILY.findall(path.read_text()):
            assert re.search(rf"(^|, ){re.escape(family + colon)}", documented, re.MULTILINE), f"{family}{colon} of {path.name}"


def test_every_key_that_python_builds_is_documented():
    documented = (ROOT / "broker/store/keys.py").read_text()
    for path in ROOT.glob("broker/store/*.py"):
        for family in re.findall(r"prefix\}([a-z-]+)", path.read_text()):
            assert re.search(rf"(^|, ){family}\b", documented, re.MULTILINE), f"{family} of {name(path)}"


def test_nothing_is_called_by_a_word_that_says_nothing():
    words = re.compile(r"utils?|helpers?|managers?|services?|base|common|misc")
    assert not [name(path) for path in SOURCES if words.fullmatch(path.stem)]
