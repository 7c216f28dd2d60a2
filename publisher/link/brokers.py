"""The brokers that the config names: joined, kept, and left when it names them no more.

It decides what the end of one link means for the program. What a link does is its
own matter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from publisher.config.values import BrokerAddress
from publisher.link.channel import Superseded
from publisher.link.client import Refused
from publisher.link.link import Link
from publisher.link.links import Links
from publisher.link.roaming import Roaming

log = logging.getLogger("publisher")

FAILED = 1
SUPERSEDED = 3  # a service is not to be started again for it: the two would take turns


class Brokers:
    def __init__(
        self,
        links: Links,
        make: Callable[[BrokerAddress], Link],
        registered: Callable[[], None],
        failed: Callable[[int], None],
        at_once: asyncio.Event,
    ) -> None:
        self._links = links
        self._make = make
        self._registered = registered
        self._failed = failed
        self._at_once = at_once
        self._began = False
        self._joined: dict[BrokerAddress, tuple[Link, asyncio.Task[None]]] = {}

    async def set(self, addresses: Iterable[BrokerAddress]) -> None:
        """From now on these. One that refused us is asked again: this config may be better."""
        wanted = list(addresses)
        left = [address for address, (_, run) in self._joined.items() if address not in wanted or run.done()]
        # With another token it is the same session: that one joins when this one has left.
        for address in wanted:
            if address not in self._joined and address.url not in [gone.url for gone in left]:
                self._join(address)
        await asyncio.gather(*(self._leave(address) for address in left))
        for address in wanted:
            if address not in self._joined:
                self._join(address)

    async def close(self) -> None:
        runs = [run for _, run in self._joined.values()]
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        await self._links.stop()
        for link, _ in self._joined.values():
            await link.close()

    def _join(self, address: BrokerAddress) -> None:
        link = self._make(address)
        self._links.add(link)
        self._joined[address] = link, asyncio.create_task(self._keep(address, link), name=f"broker {link.url}")

    async def _leave(self, address: BrokerAddress) -> None:
        link, run = self._joined[address]
        log.info("leaving %s", link.url)
        await link.drain(self._at_once)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        self._links.remove(link)
        await link.close()
        del self._joined[address]  # not earlier: a stop that comes meanwhile finds it

    async def _keep(self, address: BrokerAddress, link: Link) -> None:
        roaming = asyncio.create_task(Roaming(link.way.host, link.way.port).run(lambda why: _moved(link, why)))
        try:
            await link.begin()
            self._began = True  # from now on a refusal is for a person to mend, by another edit
            self._registered()
            await link.run()
        except Refused as err:
            log.error("the broker %s refused the registration: %s", link.url, err)
            others = [run for other, (_, run) in self._joined.items() if other is not address]
            if not self._began and all(run.done() for run in others):
                self._failed(FAILED)
        except Superseded:
            log.error(
                "another publisher uses this session (session file %s): stop it, or give this one its own "
                "--session-file", link.session_file.path,
            )
            self._failed(SUPERSEDED)
        except Exception as err:
            log.error("the publisher broke: %r", err, exc_info=err)
            self._failed(FAILED)
        finally:
            roaming.cancel()
            await asyncio.gather(roaming, return_exceptions=True)


def _moved(link: Link, why: str) -> None:
    log.info("%s: reconnecting to %s", why, link.url)
    link.moved()
