"""Makes room on a group's GPU: the one that is awake goes to sleep for another, as soon as it has no work.

When that takes too long it gets no more new work: what comes waits at the
brokers, what runs ends. One with work is never put to sleep.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from publisher.failures import TaskFailed, WakeFailed
from publisher.power.ways import State

if TYPE_CHECKING:
    from publisher.power.group import Group
    from publisher.power.power import Power

log = logging.getLogger("publisher")

LOOK_S = 0.05
LOOK_MOST_S = 1.0  # where a broker says again and again that it has work for it


async def make_room(awake: Power, group: Group, began: float, patience_s: float, give_up_s: float) -> None:
    """Returns when it sleeps, or another one took its place. ``patience_s``: so long after ``began`` it takes new work.
    Where a broker cannot hold that back, work for ``give_up_s`` is a ``WakeFailed``."""
    holds_back = None  # until it was tried
    pause_s = LOOK_S
    try:
        while awake.state is not State.ASLEEP and not group.replaced(awake):
            waited_s = awake.clock() - began
            late = waited_s >= patience_s
            if late and holds_back is None:
                holds_back = await awake.hold_back()
                if holds_back:
                    log.info('"%s" takes no new work: another one of group "%s" is asked for', awake.name, group.name)
            if holds_back is False and waited_s >= give_up_s:
                waited = f"{max(patience_s, give_up_s):g} s"
                raise WakeFailed(f'group "{group.name}": "{awake.name}" is busy and was so for {waited}; try again later')
            # Work that has just ended, or a wake, may not have been heard of by those who have more.
            quiet = awake.idle and awake.clock() - awake.last_used >= LOOK_S
            if quiet and (late or not awake.stays_awake_s):
                try:
                    return await awake.down()
                except TaskFailed as err:
                    if err.code != "busy":
                        raise WakeFailed(f'"{awake.name}" did not make room: {err}') from None
                    pause_s = min(pause_s * 2, LOOK_MOST_S)
            else:
                pause_s = LOOK_S
            await asyncio.sleep(pause_s)
    finally:
        awake.go_on()
