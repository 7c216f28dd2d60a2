"""Fills environment variables into a config file's texts.

``${NAME}`` becomes the variable's value, ``$${`` stands for ``${`` itself. On the
way it refuses what no request to a broker could carry. It knows no field.
"""

from __future__ import annotations

import math
import os
import re

from publisher.config.mistake import Mistake, Place

VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
#: Every reader on the way to the broker and back can take that much.
DEEPEST = 100


def filled(value: object, at: Place = ()) -> object:
    """The same value, its variables filled in. Raises ``Mistake``."""
    if len(at) > DEEPEST:
        raise Mistake(at[:3], "is nested too deeply")
    if isinstance(value, dict):
        return {key: filled(item, (*at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, (*at, number)) for number, item in enumerate(value)]
    if isinstance(value, str):
        text = VARIABLE.sub(lambda found: _variable(found, at), value) if "$" in value else value
        _check_text(text, at)
        return text
    too_long = isinstance(value, int) and not -(2**63) <= value < 2**64
    if too_long or isinstance(value, float) and not math.isfinite(value):
        raise Mistake(at, "is too large a number")
    return value


def _variable(found: re.Match[str], at: Place) -> str:
    name = found.group(1)
    if found.group() == "$${":
        return "${"
    if name is None:  # as of a shell, ${NAME:-default}
        raise Mistake(at, 'holds a ${ without the name of a variable and a }; write $${ for the text "${" itself')
    if name not in os.environ:
        raise Mistake(at, f"the environment variable {name} is not set")
    return os.environ[name]


def _check_text(text: str, at: Place) -> None:
    if "\0" in text:
        raise Mistake(at, "holds a NUL character")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Mistake(at, "is not proper Unicode text") from None
