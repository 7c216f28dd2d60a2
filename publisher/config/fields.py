"""The kinds of text and number in the config file, and what each must be.

``must`` is what a complaint says of a wrong one. Patterns are read by Python and
by editors (JavaScript), so they keep to what both know. Nothing is read here.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

#: The end of the text. ``$`` alone would let a last line break pass.
END = r"(?![\s\S])"
#: Longer than any wait; it keeps infinity out.
LONGEST_S = 1_000_000_000


def must(text: str, **limits) -> Meta:
    return Meta(extra={"must": f"must {text}"}, **limits)


Seconds = Annotated[float, must("be a number above 0", gt=0, le=LONGEST_S)]
SecondsOrZero = Annotated[float, must("be a number, 0 or more", ge=0, le=LONGEST_S)]
Slots = Annotated[int, must("be a whole number above 0", gt=0, le=1_000_000)]
Port = Annotated[int, must("be a whole number from 1 to 65535", ge=1, le=65535)]

Text = Annotated[str, must("not be empty", min_length=1)]
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
Days = Annotated[
    str,
    must('be days like "mon-fri" or "mon, wed, fri"', pattern=rf"^{_DAY}(-{_DAY})?( *, *{_DAY}(-{_DAY})?)*{END}"),
]
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
TimeOfDay = Annotated[str, must('be a time like "08:00"', pattern=rf"^{_TIME}{END}")]
EndOfTime = Annotated[str, must('be a time like "18:00", up to "24:00"', pattern=rf"^({_TIME}|24:00){END}")]
#: Goes into a header or a path: a line break, as of a careless ``export``, would break it.
Line = Annotated[str, must("be one line without control characters", pattern=rf"^[^\x00-\x1f\x7f]*{END}")]
PathOfFile = Annotated[str, must("be the path of a file", min_length=1)]
PathOfFolder = Annotated[str, must("be the path of a folder", min_length=1)]
Address = Annotated[
    str, must('be an address like "http://127.0.0.1:8000/v1"', pattern=rf"^https?://[^/\s?#]+[^\s]*{END}")
]
AddressOfBroker = Annotated[
    str, must('be an address like "https://broker.example"', pattern=rf"^https?://[^/\s?#]+[^\s]*{END}")
]
Proxy = Annotated[
    str,
    must('be an address like "http://proxy.example:3128", or "none"', pattern=rf"^(none|https?://[^/\s?#]+[^\s]*){END}"),
]
Name = Annotated[
    str,
    must(
        'have 1 to 128 characters, none of them a control character, and not start with "_"',
        pattern=rf"^[^_\x00-\x1f\x7f][^\x00-\x1f\x7f]{{0,127}}{END}",
    ),
]
ModelName = Annotated[str, must("have 1 to 128 characters", pattern=rf"^[\s\S]{{1,128}}{END}")]
Mac = Annotated[
    str,
    must(
        'be a MAC address like "aa:bb:cc:dd:ee:ff"',
        pattern=r"^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2})"
        + END,
    ),
]
KeepAlive = Annotated[
    str,
    must(
        'be a time like "30m", or -1 for ever',
        pattern=rf"^(-?[0-9]+|-?([0-9]+(\.[0-9]+)?(ms|s|m|h))+){END}",
    ),
]
Headers = Annotated[
    dict[
        Annotated[str, Meta(pattern=rf"^[!#$%&'*+.^_`|~0-9A-Za-z-]+{END}")],
        Annotated[str, Meta(pattern=rf"^[^\r\n]*{END}")],
    ],
    must('be an object of one-line texts like { "Authorization": "Bearer …" }'),
]
Environment = Annotated[
    dict[Annotated[str, Meta(pattern=rf"^[^=]+{END}")], str],
    must('be an object of texts like { "CUDA_VISIBLE_DEVICES": "0" }'),
]
