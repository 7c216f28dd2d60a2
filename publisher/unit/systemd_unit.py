"""The text of a systemd user unit, with systemd's own quoting.

It only makes the text: no file, no systemd.
"""

from __future__ import annotations

import glob

from publisher.unit.job import Job
from publisher.unit.written import MARKER

STOP_S = 60  # more than the drain and the last words


def unit_text(job: Job) -> str:
    """Raises ``ValueError`` for a path that a unit cannot hold."""
    program, *arguments = job.words
    start = " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in arguments)])
    directory = f"WorkingDirectory={_plain(str(job.directory))}\n" if job.directory else ""
    return f"""\
# {MARKER}, which writes it anew: changes belong into {_plain(job.name)}.service.d/.
[Unit]
Description=Reveille publisher ({_plain(job.name)})

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
{directory}Environment={_quoted("PATH=" + job.search_path)}
EnvironmentFile=-{_plain(glob.escape(str(job.env_file)))}
# Ready means registered, and a broker may be away for long.
TimeoutStartSec=infinity
# What runs may finish first; of everything else only the publisher is asked to stop.
TimeoutStopSec={STOP_S}
KillMode=mixed
Restart=on-failure
RestartSec=3
# A config that cannot be used does not get better by another try; nor does a session that another one took.
RestartPreventExitStatus=2 3

[Install]
WantedBy=default.target
"""


def _quoted(text: str) -> str:
    """One word for ``ExecStart`` and ``Environment``."""
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """For what takes the rest of its line as it is; only ``%`` means something there."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = ascii(text)
        raise ValueError(f"a unit must be UTF-8, and this is not: {text}") from None
    if not text.isprintable():
        raise ValueError(f"a unit cannot hold control characters: {ascii(text)}")
    return text.replace("%", "%%")
