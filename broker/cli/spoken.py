"""How a conversation looks on a terminal: earlier messages, and what comes while an answer is made. It asks nothing but messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .printable import one_line
from .printing import say, shortened

if TYPE_CHECKING:
    from .api import Api

PAGE = 1000
LINE = 120


async def history(api: Api, path: str) -> list[dict]:
    """Every message of a thread, in order."""
    found: list[dict] = []
    after: dict[str, str] = {}
    while True:
        page = await api.get(path, limit=str(PAGE), **after)
        found += page["data"]
        if not page.get("hasMore") or not page["data"]:
            return found
        after = {"after": found[-1]["id"]}


def tell(message: dict, indent: str = "") -> None:
    """One message that is over."""
    if message["role"] == "tool":
        say(f"{indent}  -> {_cut(text_of(message.get('content')))}", dim=True)
        return
    said = text_of(message.get("content"))
    if said:
        first, *rest = said.split("\n")
        say(f"{indent}{'> ' if message['role'] == 'user' else ''}{first}")
        for line in rest:
            say(f"{indent}{line}")
    for call in message.get("toolCalls") or ():
        function = call.get("function") or call
        say(f"{indent}  {called(function)}", dim=True)
    if message.get("status") == "error":
        error = message.get("error") or {}
        say(f"{indent}  (ended with an error: {_cut(str(error.get('message') or error or 'unknown'))})", "red")


def text_of(content: object) -> str:
    """What a message says: a text, or the texts of its parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or f"({part.get('type')})") for part in content if isinstance(part, dict))
    return str(content or "")


def called(call: dict) -> str:
    return _cut(f"{call.get('name')}({call.get('arguments') or ''})")


class Screen:
    """Shows an answer as it is made. Between kinds of text there is a line's end."""

    def __init__(self) -> None:
        self._kind = ""

    def __call__(self, event: str, data: dict) -> None:
        if event in ("text", "reasoning"):
            if event != self._kind:
                self.end()
            self._kind = event
            say(str(data.get("text") or ""), dim=event == "reasoning", end="")
        elif event == "tool_call":
            self._line(f"  {called(data)}")
        elif event == "tool_result":
            self._line(f"  -> {'error: ' if data.get('isError') else ''}{_cut(text_of(data.get('content')))}")
        elif event == "warning":
            self._line(f"  ({_cut(str(data.get('message')))})", "yellow")

    def end(self) -> None:
        """Ends the line, if one is begun."""
        if self._kind:
            say()
        self._kind = ""

    def _line(self, text: str, colour: str | None = None) -> None:
        self.end()
        say(text, colour, dim=colour is None)


def _cut(text: str) -> str:
    return shortened(one_line(text), LINE)
