"""Makes endpoints: gives each provider its backend, its slots, its recipes and its group.

Two providers that mean the same model of the same server share its slots; those
of one server share the backend. The only place that knows all these parts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import aiohttp

from publisher.activity import Activity
from publisher.backends.seam import Backend
from publisher.backends.types import backend_of
from publisher.config.values import Provider
from publisher.link.links import Links
from publisher.power.canary import sing
from publisher.power.group import Group
from publisher.power.power import Power
from publisher.power.ways import Limits, Ways
from publisher.published.endpoint import Endpoint
from publisher.published.slots import Slots
from publisher.recipes.run import Tools, run_recipe
from publisher.recipes.log_file import log_path
from publisher.recipes.server_process import ServerProcess
from publisher.timers import Timers


class Maker:
    def __init__(
        self, http: aiohttp.ClientSession, links: Links, activity: Activity, timers: Timers,
        look_again: Callable[[], None],
    ) -> None:
        self._http = http
        self._activity = activity
        self._links = links
        self._timers = timers
        self._look_again = look_again
        self._backends: dict[tuple, Backend] = {}
        self._slots: dict[tuple, Slots] = {}
        self._groups: dict[str, Group] = {}

    def backend(self, provider: Provider) -> Backend:
        key = (provider.type, provider.url, provider.api_key)
        if key not in self._backends:
            self._backends[key] = backend_of(
                provider.type, self._http, provider.url, provider.api_key, self._timers.check_timeout_s
            )
        return self._backends[key]

    def endpoint(self, provider: Provider) -> Endpoint:
        backend = self.backend(provider)
        process = self._process(provider)
        tools = Tools(self._http, backend, provider.model, process)
        retired = process.stop if process else _nothing

        def power(endpoint: Endpoint) -> Power:
            return Power(
                provider.name,
                Ways(
                    wake=provider.wake and functools.partial(run_recipe, provider.wake, tools, waking=True),
                    sleep=provider.sleep and functools.partial(run_recipe, provider.sleep, tools, waking=False),
                    available=endpoint.available,
                    canary=provider.canary and functools.partial(sing, backend, provider.model, provider.canary),
                    died=lambda: process.died if process else None,
                    give_up=retired,
                ),
                self._limits(provider),
                busy=lambda: endpoint.working > 0,
                agree=lambda: self._links.agree(endpoint),
                beat=self._links.beat,
                changed=lambda: self._changed(endpoint),
                activity=self._activity,
                group=self._group(provider.group),
            )

        log_file = str(process.log_file) if process else None
        return Endpoint(provider, backend, self._slots_of(provider), power, retired, log_file)

    def _changed(self, endpoint: Endpoint) -> None:
        endpoint.moved()
        self._links.announce(endpoint)

    def _slots_of(self, provider: Provider) -> Slots:
        slots = self._slots.setdefault((provider.type, provider.url, provider.model), Slots(provider.slots or 1))
        if provider.slots is not None:
            slots.resize(provider.slots)
        return slots

    def _group(self, name: str | None) -> Group | None:
        return self._groups.setdefault(name, Group(name)) if name is not None else None

    def _process(self, provider: Provider) -> ServerProcess | None:
        step = provider.wake.process if provider.wake else None
        if step is None:
            return None
        file = Path(step.log_file) if step.log_file else log_path(provider.name)
        process = ServerProcess(step, provider.name, file)
        process.on_exit = self._look_again
        return process

    def _limits(self, provider: Provider) -> Limits:
        timers = self._timers
        return Limits(
            max_wait_s=provider.max_wait_s, min_awake_s=provider.min_awake_s, poll_s=timers.wake_poll_s,
            settle_s=timers.settle_s, canary_s=timers.canary_s,
        )


async def _nothing() -> None:
    """For what was not started by us, there is nothing to stop."""
