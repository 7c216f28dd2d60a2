"""Makes the brokers' addresses out of what the config file says: one of them, or several."""

from __future__ import annotations

from publisher.config.address import check_address, check_broker_address
from publisher.config.mistake import Mistake, Place
from publisher.config.schema import BrokerEntry, ConfigFile
from publisher.config.secrets import Folder, check_written
from publisher.config.twins import refuse_twins
from publisher.config.values import BrokerAddress


def brokers_of(file: ConfigFile, folder: Folder) -> tuple[BrokerAddress, ...]:
    if file.brokers is None:
        own = BrokerEntry(url=file.broker or "", token=file.token, tokenFile=file.tokenFile, caFile=file.caFile,
                          proxy=file.proxy)
        # An address may come from the command line; what belongs to it then waits for that.
        return () if own == BrokerEntry(url="") else (_broker(own, (), folder),)
    for field in ("broker", "token", "tokenFile", "caFile", "proxy"):
        if getattr(file, field) is not None:
            raise Mistake((field,), "stands beside brokers: put it into one of those")
    found = tuple(_broker(entry, ("brokers", n), folder) for n, entry in enumerate(file.brokers))
    refuse_twins([(("brokers", n, "url"), broker.url.rstrip("/")) for n, broker in enumerate(found)])
    return found


def _broker(entry: BrokerEntry, at: Place, folder: Folder) -> BrokerAddress:
    if entry.url:
        check_broker_address(entry.url, (*at, "url") if at else ("broker",))
    if entry.proxy not in (None, "none"):
        check_address(entry.proxy, (*at, "proxy"))
    if entry.token and entry.tokenFile:
        raise Mistake((*at, "tokenFile"), "stands beside token: only one of them can count")
    check_written(entry.token, (*at, "token"))
    try:
        token = folder.secret(entry.token, entry.tokenFile)
    except Mistake as mistake:
        raise Mistake((*at, "tokenFile"), mistake.text) from None
    return BrokerAddress(entry.url, token, folder.watched(entry.caFile), entry.proxy)
