"""A machine for the tests of services: a home of its own, and stand-ins for what systems are told with.

``systemctl``, ``loginctl``, ``journalctl`` and ``launchctl`` are small programs
first on the PATH. They write down what they were told and answer as scripted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """\
#!{python}
import json, os, sys
from pathlib import Path
name, words, folder = Path(sys.argv[0]).name, sys.argv[1:], Path({folder!r})
with (folder / "told").open("a") as told:
    told.write(json.dumps([name, *words]) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
said = " ".join([name, *words])
state = folder / "state"
for start, answer in answers.items():
    if said.startswith(start):
        code, out = answer if isinstance(answer, list) else (0, answer)
        (sys.stderr if code else sys.stdout).write(out)
        sys.exit(code)
if name == "launchctl":
    if words[0] == "print" and "/" in words[1].removeprefix("gui/"):
        if not state.exists():
            sys.exit("Could not find service")
        print("state = running\\n\\tpid = 77\\n\\tlast exit code = (never exited)")
    elif words[0] == "bootstrap":
        state.write_text("there")
    elif words[0] == "bootout":
        if not state.exists():
            sys.exit("Boot-out failed: 3: No such process")
        state.unlink()
elif name == "systemctl":
    if "show" in words:
        active = "active" if state.exists() else "inactive"
        print("ActiveState=%s\\nSubState=running\\nUnitFileState=enabled\\nMainPID=%s\\nStatusText=%s\\nResult=success\\n"
              "ExecMainStatus=0\\nStateChangeTimestampMonotonic=1000000"
              % (active, 55 if active == "active" else 0, "1 broker, 2 rows" if active == "active" else ""))
    elif "restart" in words:
        state.write_text("there")
    elif "disable" in words:
        state.unlink(missing_ok=True)
elif name == "loginctl":
    print("Linger=no")
elif name == "journalctl":
    print("12:00:00 registered\\n12:00:01 channel open")
"""

WHICH = ("systemctl", "loginctl", "journalctl", "launchctl")


class Machine:
    def __init__(self, folder: Path, platform: str = "linux", programs: tuple[str, ...] = WHICH) -> None:
        self.home = folder / "home dir"
        self.config = self.home / ".config" / "reveille" / "publisher.json"
        self.unit = self.home / ".config" / "systemd" / "user" / "reveille-publisher.service"
        self.plist = self.home / "Library" / "LaunchAgents" / "reveille-publisher.plist"
        self.config.parent.mkdir(parents=True)
        self._folder = folder
        self._platform = platform
        self._programs = folder / "programs"
        self._programs.mkdir()
        for name in programs:
            path = self._programs / name
            path.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
            path.chmod(0o755)
        self.answer({})
        self.write()

    def answer(self, answers: dict[str, str | tuple[int, str]]) -> None:
        """What begins with such words is answered so, as text or as (exit code, text on stderr)."""
        (self._folder / "answers.json").write_text(json.dumps(answers))

    def write(self, **more: object) -> None:
        """The config file."""
        provider = {"name": "m", "type": "openai", "model": "m", "url": "http://127.0.0.1:1/v1", "publish": True}
        self.config.write_text(json.dumps({"broker": "http://broker.test", "providers": [provider], **more}))

    def told(self, *programs: str) -> list[list[str]]:
        """What these programs were told since the last time one asked; without the questions."""
        path = self._folder / "told"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        asks = {"show", "show-environment", "print", "show-user"}
        return [line for line in lines if line[0] in programs and not asks & set(line)]

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """``publisher service …`` as this machine's user types it."""
        # The platform's name is changed once Python's own modules have been loaded for the real one.
        code = (f"import click, plistlib, subprocess, sys, tempfile; sys.platform = {self._platform!r}; "
                "from publisher.cli.unit import service; service(prog_name='publisher service')")
        kept = {"PATH": f"{self._programs}:/usr/bin:/bin" if "systemctl" in os.listdir(self._programs) else
                str(self._programs), "HOME": str(self.home), "PYTHONPATH": str(ROOT), **env}
        return subprocess.run([sys.executable, "-c", code, *words], env=kept, capture_output=True, text=True, timeout=30)
