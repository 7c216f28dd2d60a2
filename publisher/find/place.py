"""Where the config file is when nobody says so. It reads and writes no file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from publisher.link.session import user_home

#: In the order in which they are looked for.
NAMES = ("publisher.json", "publisher.yaml", "publisher.yml")


def config_home() -> Path:
    if sys.platform == "win32":
        home = Path(os.environ.get("APPDATA") or user_home() / "AppData" / "Roaming")
    else:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or user_home() / ".config")
    return home / "reveille"


def default_config() -> Path | None:
    """The config file of this user, if there is one."""
    return next((path for path in map(config_home().joinpath, NAMES) if path.is_file()), None)


def new_config() -> Path:
    """Where ``publisher init`` writes: the file that is there, else a YAML one."""
    return default_config() or config_home() / "publisher.yaml"
