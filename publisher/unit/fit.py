"""Whether a config file will do for a service, which has no shell's environment.

It reads the file twice, as this shell sees it and as the service will.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from publisher.config.file import read_config
from publisher.config.values import ConfigError
from publisher.unit.job import Job

USUAL = ("HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR", "XDG_RUNTIME_DIR")


def check_fit(job: Job, variables: Mapping[str, str], has_env_file: bool) -> None:
    """Raises ``ConfigError``."""
    config = job.config
    with _environment({**os.environ, **variables}):
        told = read_config(config)
    if not told.publishes:
        raise ConfigError(f'nothing to publish: nothing in {config} has "publish": true')
    usual = {key: os.environ[key] for key in USUAL if key in os.environ}
    elsewhere = f"write them into {job.env_file}, or " if has_env_file else ""
    with _environment({**usual, **variables}):
        try:
            read_config(config)
        except ConfigError as err:
            raise ConfigError(
                f"{err}. A service does not have this shell's variables: {elsewhere}use tokenFile and apiKeyFile"
            ) from None
    if not told.brokers and "BROKER_URL" not in variables:
        raise ConfigError(f'{config.name}: no broker: a service needs "broker" in the config file')


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
