"""Checks warm hours beyond their looks: what they mean now, and that two of one group do not want the same time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from publisher.check.finding import About, Finding
from publisher.config.values import Provider
from publisher.power.hours import Hours
from publisher.terminal.amounts import coarse


def check_hours(providers: Iterable[Provider]) -> list[Finding]:
    warm = [(one, Hours(one.warm_hours)) for one in providers if one.warm_hours]
    found = [About(f'warm hours of "{one.name}"').ok(_now(hours)) for one, hours in warm]
    for (one, its), (other, others) in itertools.combinations(warm, 2):
        if one.group is not None and one.group == other.group and its.meet(others):
            what = f'"{one.name}" and "{other.name}" are to be warm at the same time, and only one of them can be'
            found.append(About(f'group "{one.group}"').warning(what, "give them hours that do not overlap"))
    return found


def _now(hours: Hours) -> str:
    left_s, begin_s = hours.left_s, hours.begin_in_s
    if left_s == math.inf:
        return "they never end"
    if left_s:
        return f"they are now, for {coarse(left_s)}"
    return f"they begin in {coarse(begin_s)}" if begin_s is not None else "they never begin"
