"""Keeps one core from going to sleep: a busy loop that yields to any real work.

`python -m benchmark.spinner`. Under SCHED_IDLE it runs only when nothing else
wants the core; a virtual core that never halts wakes up in µs instead of ms.
"""

import os

if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass
