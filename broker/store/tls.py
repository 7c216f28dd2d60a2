"""How to talk TLS to Redis: the ``ssl_…`` options of a ``rediss://`` URL.

The names are redis-py's, because people have them in their URLs already. One
reading serves both clients: ``context()`` for connections of our own,
``options()`` for redis-py. Certificates are checked unless somebody wrote that
they are not to be.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

TLS_OPTIONS = (
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
)

_REQUIREMENTS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Tls:
    """Whom to believe, and who we are."""

    cert_reqs: str = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, options: dict[str, str]) -> Tls:
        """From ``ssl_…`` options; ValueError names the one that cannot be read."""
        values: dict = {name.removeprefix("ssl_"): text for name, text in options.items()}
        requirement = values.get("cert_reqs", "required").lower().removeprefix("cert_")
        if requirement not in _REQUIREMENTS:
            raise ValueError("ssl_cert_reqs is one of none, optional, required")
        hostname = values.get("check_hostname", "yes").lower()
        if hostname not in _YES + _NO:
            raise ValueError("ssl_check_hostname is true or false")
        values["cert_reqs"] = requirement
        values["check_hostname"] = hostname in _YES and requirement != "none"
        return cls(**values)

    def context(self) -> ssl.SSLContext:
        """For connections that we open ourselves. OSError names a missing file."""
        context = ssl.create_default_context(cafile=self.ca_certs, capath=self.ca_path)
        context.check_hostname = self.check_hostname
        context.verify_mode = _REQUIREMENTS[self.cert_reqs]
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile, self.password)
        return context

    def options(self) -> dict:
        """For redis-py's clients and pools."""
        return {f"ssl_{name}": value for name, value in vars(self).items()}
