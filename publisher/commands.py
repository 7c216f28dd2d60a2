"""What can be asked of a running publisher by hand, and how it is done. It prints nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from publisher.control.log_ring import LogRing
from publisher.control.refused import Refused
from publisher.failures import TaskFailed
from publisher.life import Publisher
from publisher.published.endpoint import Endpoint
from publisher.reload import Reload
from publisher.status import Status


class Commands:
    def __init__(self, publisher: Publisher, ring: LogRing, reload: Reload) -> None:
        self._publisher = publisher
        self._ring = ring
        self._reload = reload

    def status(self) -> Status:
        return self._publisher.status()

    async def wake(self, name: str) -> int:
        try:
            return await self._endpoint(name).power.up()
        except TaskFailed as err:
            raise Refused(f'"{name}" did not wake: {err}') from None

    async def sleep(self, name: str) -> None:
        try:
            await self._endpoint(name).power.down(by_hand=True)
        except TaskFailed as err:
            raise Refused(str(err)) from None

    async def reload(self) -> None:
        if wrong := await self._reload.now():
            raise Refused(f"the config is not used, the one before stays in force: {wrong}")

    def logs(self) -> list[str]:
        return self._ring.logs()

    def follow(self) -> AsyncIterator[str]:
        return self._ring.follow()

    def _endpoint(self, name: str) -> Endpoint:
        endpoint = self._publisher.roster.get(name)
        if endpoint is None:
            known = ", ".join(f'"{one.name}"' for one in self._publisher.roster) or "none"
            raise Refused(f'no LLM "{name}" is published here; published: {known}')
        return endpoint
