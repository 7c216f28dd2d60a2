"""A config file as it was written: its text, its form, and where each field stands in it.

The form is told by the name: ``.json``, else ``.yaml`` or ``.yml``. It knows no field.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from publisher.config.mistake import Mistake, Place, dotted
from publisher.config.values import ConfigError

#: Lists whose items people know by their names.
ENTRIES = ("providers", "agents", "brokers", "tools")


class Document:
    """One file. Reading it raises ``ConfigError`` when nobody could, ``Mistake`` when it is badly written."""

    def __init__(self, path: Path) -> None:
        self.label = path.name
        self.text = _text(path)
        self._form = _form(path, self.text)
        self._value: object = None

    def value(self) -> object:
        """What the text says, variables not yet filled in."""
        self._value = self._form.value(self.text)
        return self._value

    def told(self, mistake: Mistake) -> str:
        """``publisher.yaml:12: providers[0] ("a"): slots: must be …``"""
        line = mistake.line or self._line(mistake.at)
        parts = [":".join(str(part) for part in (self.label, line, mistake.column) if part is not None)]
        at = mistake.at
        if len(at) >= 2 and at[0] in ENTRIES and isinstance(at[1], int):
            name = self._name(at[:2])
            parts.append(f'{dotted(at[:2])} ("{name}")' if name else dotted(at[:2]))
            at = at[2:]
        if at:
            parts.append(dotted(at))
        return ": ".join([*parts, mistake.text])

    def _line(self, at: Place) -> int | None:
        """Of the field; if that is not there, of the entry that lacks it."""
        if not at:
            return None
        lines = self._form.lines(self.text)
        return next((lines[at[:size]] for size in range(len(at), 0, -1) if at[:size] in lines), None)

    def _name(self, at: Place) -> str | None:
        value: object = self._value
        for part in (*at, "name"):
            try:
                value = value[part]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                return None
        return value if isinstance(value, str) and value.isprintable() else None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror or err}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path.name}: is not UTF-8 text: save it as UTF-8") from None


def _form(path: Path, text: str) -> ModuleType:
    """What has another name, as a pipe has, is told by how it begins."""
    kind = path.suffix.lower()
    if kind == ".toml":
        raise ConfigError(f"{path.name}: TOML is not read here: write it as YAML or JSON")
    if kind == ".json" or (kind not in (".yaml", ".yml") and text.lstrip().startswith("{")):
        from publisher.config import json_form as form
    else:
        from publisher.config import yaml_form as form
    return form
