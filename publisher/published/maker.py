"""Makes endpoints: gives each provider its backend, its slots, its recipes and its group.

Two providers that mean the same model of the same server share its slots; those
of one server share the backend. The only place that knows all these parts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from weakref import WeakValueDictionary

import aiohttp

from publisher.activity import Activity
from publisher.backends.seam import Backend
from publisher.backends.types import backend_of
from publisher.config.values import Provider
from publisher.link.links import Links
from publisher.power.canary import sing
from publisher.power.group import Group
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways
from publisher.published.endpoint import Endpoint
from publisher.published.slots import Slots
from publisher.published.processes import Held, Processes
from publisher.recipes.run import Tools, run_recipe
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
        self._processes = Processes(look_again)
        # Each lives as long as an endpoint has it: keys are changed, and models come and go.
        self._backends: WeakValueDictionary[tuple, Backend] = WeakValueDictionary()
        self._slots: WeakValueDictionary[tuple, Slots] = WeakValueDictionary()
        self._groups: WeakValueDictionary[str, Group] = WeakValueDictionary()

    def backend(self, provider: Provider) -> Backend:
        key = (provider.type, provider.url, provider.api_key)
        backend = self._backends.get(key)
        if backend is None:
            backend = self._backends[key] = backend_of(
                provider.type, self._http, provider.url, provider.api_key, self._timers.check_timeout_s
            )
        return backend

    def endpoint(self, provider: Provider) -> Endpoint:
        backend = self.backend(provider)
        held = self._held(provider)
        process = held and held.process
        tools = Tools(self._http, backend, provider.model, process)

        def power(endpoint: Endpoint) -> Power:
            return Power(
                provider.name,
                Ways(
                    wake=provider.wake and functools.partial(run_recipe, provider.wake, tools, waking=True),
                    sleep=provider.sleep and functools.partial(run_recipe, provider.sleep, tools, waking=False),
                    available=endpoint.available,
                    canary=provider.canary and functools.partial(sing, backend, provider.model, provider.canary),
                    died=lambda: process.died if process else None,
                    give_up=process and process.stop,
                ),
                self._limits(provider),
                busy=lambda: endpoint.working > 0 or endpoint.slots.running > 0,
                agree=lambda: self._agree(endpoint),
                beat=self._links.beat,
                changed=lambda: self._changed(endpoint),
                activity=self._activity,
                group=self._group(provider.group),
                model=endpoint.slots,
                drain=lambda: self._drain(endpoint),
            )

        return Endpoint(provider, backend, self._slots_of(provider), power, held)

    async def _agree(self, endpoint: Endpoint) -> bool:
        # The name of one that is gone may be another's by now: brokers are told of that one.
        return endpoint.gone or await self._links.agree(endpoint)

    async def _drain(self, endpoint: Endpoint) -> bool:
        return endpoint.gone or await self._links.drain(endpoint)

    def _changed(self, endpoint: Endpoint) -> None:
        endpoint.moved()
        if not endpoint.gone:
            self._links.announce(endpoint)
        if endpoint.power.state is State.AWAKE:
            self._look_again()  # only now it may tell how many slots it has

    def _slots_of(self, provider: Provider) -> Slots:
        slots = self._slots.setdefault((provider.type, provider.url, provider.model), Slots())
        slots.write(provider.name, provider.slots)
        return slots

    def _group(self, name: str | None) -> Group | None:
        return self._groups.setdefault(name, Group(name)) if name is not None else None

    def _held(self, provider: Provider) -> Held | None:
        step = provider.wake.process if provider.wake else None
        return self._processes.hold(provider.name, step) if step else None

    def _limits(self, provider: Provider) -> Limits:
        timers = self._timers
        # A server of our own is looked at often: its start is under way, and nobody else said when it is over.
        own = provider.wake is not None and provider.wake.process is not None
        return Limits(
            max_wait_s=provider.max_wait_s, min_awake_s=provider.min_awake_s,
            poll_s=min(timers.wake_poll_s, timers.process_poll_s) if own else timers.wake_poll_s,
            settle_s=timers.settle_s, canary_s=timers.canary_s, group_wait_s=provider.group_wait_s,
        )
