"""Seals secrets and opens them: XChaCha20-Poly1305, bound to the secret's name.

Bound, so that a value which somebody copies under another name in Redis opens no
more. Keys come from the settings, else from a file beside the embedded server's
data. Several keys: the first seals, all open. Nothing here is ever logged or shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from broker.errors import NoSecretKey, Unavailable

_KEY_BYTES = 32


class BadKey(Exception):
    """A key is not 32 bytes as base64; the message says which and what to do."""


class Unreadable(Unavailable):
    """A secret cannot be opened with the keys that this broker has."""

    code = "secret_unreadable"
    retry_after_s = None
    should_retry = False


class Vault:
    """``keys``: base64, comma-separated. ``key_file``: where the key is when there are none, or where to make one;
    None: nowhere."""

    def __init__(self, namespace: str, keys: str, key_file: Path | None):
        self._namespace = namespace
        self._keys = read_keys(keys, "BROKER_SECRET_KEY")
        self._file = key_file

    def __repr__(self) -> str:
        return "Vault()"

    @property
    def current_key(self) -> str:
        """The id of the key that seals; '' while there is none."""
        return next(iter(self._known()), "")

    def seal(self, name: str, value: str) -> tuple[str, str]:
        """(sealed value, id of the key). Raises NoSecretKey."""
        from nacl.secret import Aead

        keys = self._known()
        if not keys:
            if self._file is None:
                raise NoSecretKey()
            try:
                _make_key(self._file)
            except OSError as error:
                raise NoSecretKey(f"The key file {self._file} cannot be made ({error.strerror}); set BROKER_SECRET_KEY.") from None
            keys = self._known()
        key_id, key = next(iter(keys.items()))
        return base64.b64encode(Aead(key).encrypt(value.encode(), self._bond(name))).decode(), key_id

    def open(self, name: str, sealed: str, key_id: str) -> str:
        """The value. Raises Unreadable."""
        from nacl.exceptions import CryptoError
        from nacl.secret import Aead

        key = self._known().get(key_id)
        if key is None:
            raise Unreadable(
                f"The secret {name!r} was sealed under a key that this broker does not have; add that key to "
                "BROKER_SECRET_KEY, or put the secret's value again."
            )
        try:
            return Aead(key).decrypt(base64.b64decode(sealed, validate=True), self._bond(name)).decode()
        except (CryptoError, ValueError):
            raise Unreadable(f"The secret {name!r} is damaged, or is another one's value; put it again.") from None

    def _bond(self, name: str) -> bytes:
        return f"reveille secret\0{self._namespace}\0{name}".encode()

    def _known(self) -> dict[str, bytes]:
        """Another replica on the same data directory may have made the file meanwhile."""
        if not self._keys and self._file is not None:
            with suppress(FileNotFoundError):
                try:
                    self._keys = read_keys(self._file.read_text(), str(self._file))
                except BadKey as error:
                    raise NoSecretKey(str(error)) from None
        return self._keys


def read_keys(text: str, where: str) -> dict[str, bytes]:
    """Keys by their ids, in order. Raises BadKey."""
    found = {}
    words = [word.strip() for word in text.split(",") if word.strip()]
    for number, word in enumerate(words, 1):
        try:
            key = base64.b64decode(word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            which = f"key {number} of {len(words)} is" if len(words) > 1 else "the key is"
            raise BadKey(f"{where}: {which} not {_KEY_BYTES} bytes as base64; `openssl rand -base64 32` makes one")
        found[hashlib.sha256(b"reveille key id" + key).hexdigest()[:12]] = key
    return found


def _make_key(file: Path) -> None:
    """Whole or not at all, and never over one that is there: of two that make it at once one wins."""
    handle, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0600, as mkstemp makes files
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(made, file)
    finally:
        os.unlink(made)
