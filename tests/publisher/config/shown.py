"""The config files that the documents show, in both forms, with what they need to be read."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^( *)```(json|yaml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def shown_configs() -> list[tuple[str, str]]:
    """Each block with ``providers``: the name of a file of its form, and its text."""
    found = []
    for path in PAGES:
        for indent, form, text in BLOCK.findall(path.read_text()):
            if re.search(r'^\s*"?providers"?:', text, re.MULTILINE):
                found.append((f"publisher.{form}", re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)))
    return found


def variables(text: str) -> list[str]:
    return re.findall(r"(?<!\$)\$\{(\w+)\}", text)


def secret_files(text: str) -> list[str]:
    return re.findall(r'\b(?:token|apiKey)File"?: *"?([^",}\s]+)', text)
