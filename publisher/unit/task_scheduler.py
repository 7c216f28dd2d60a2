"""Windows: no service of ours there; which command of the Task Scheduler does the same.

It runs nothing.
"""

from __future__ import annotations

import subprocess

from publisher.unit.job import Job


def command(job: Job) -> str:
    return subprocess.list2cmdline(
        ["schtasks", "/Create", "/SC", "ONLOGON", "/RL", "LIMITED", "/TN", job.name,
         "/TR", subprocess.list2cmdline(job.words)]
    )


def removal(name: str) -> str:
    return subprocess.list2cmdline(["schtasks", "/Delete", "/TN", name])
