"""The documentation of every finding: `docs/findings.md`, which the package carries with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

#: Where the documentation is read, as the package's metadata says.
DOCUMENTATION = "https://github.com/robaudit/robaudit/blob/main/docs"
_ENTRY = re.compile(r"^## (?P<code>[\w-]+)\n(?P<text>.*?)(?=^## |\Z)", flags=re.M | re.S)
_PARTS = re.compile(
    r"\*(?P<severity>\w+)\.\*\s+\*\*(?P<sentence>.+?)\*\*\s+\*\*Raised\s+when\*\*\s+(?P<raised>.+?)"
    r"\*\*What\s+it\s+means:\*\*\s+(?P<meaning>.+?)\*\*What\s+to\s+do:\*\*\s+(?P<advice>.+)",
    flags=re.S,
)


@dataclass(frozen=True)
class Page:
    """One finding's entry; every part but `text` is one paragraph of plain words.

    Attributes:
        code: of the finding.
        sentence: what it says, in one sentence.
        raised: when it is raised.
        meaning: what it means.
        advice: what to do.
        text: the whole entry as Markdown.

    """

    code: str
    sentence: str
    raised: str
    meaning: str
    advice: str
    text: str

    @property
    def url(self) -> str:
        """Its entry in the published documentation."""
        return f"{DOCUMENTATION}/findings.md#{self.code}"


@cache
def pages() -> dict[str, Page]:
    """Every finding's entry, by its code."""
    found = {}
    for entry in _ENTRY.finditer(_source()):
        text = entry["text"].strip()
        parts = _PARTS.fullmatch(text)
        assert parts, entry["code"]
        words = {name: _plain(parts[name]) for name in ("sentence", "raised", "meaning", "advice")}
        found[entry["code"]] = Page(entry["code"], text=text, **words)
    return found


def _source() -> str:
    """From the installed package, else from the repository that is worked on."""
    packed = resources.files("robaudit") / "assets" / "findings.md"
    place = packed if packed.is_file() else Path(__file__).parents[3] / "docs" / "findings.md"
    return place.read_text(encoding="utf-8")


def _plain(text: str) -> str:
    """Without links and marks, on one line; a table's rows as sentences."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)|<(https?://[^>]+)>", lambda found: found[1] or found[2], text)
    text = re.sub(r"^\|[-| ]+\|\n", "", text, flags=re.M)
    text = re.sub(r"^\| (.+?) \| (.+?) \|$", r"\1: \2;", text, flags=re.M)
    text = re.sub(r"\s+", " ", text.replace("`", "")).strip()
    return text[:1].upper() + text[1:]
