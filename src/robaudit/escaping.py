"""Strangers' text made harmless for where it goes: the one place for a line of plain text and for JSON.

HTML and SVG are escaped by `reports.templates`, Markdown by `reports.markdown`, XML by the library that writes it.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Characters that Unicode calls printable and nobody sees, or sees as a space (Default_Ignorable_Code_Point).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
#: Marks that are set above or below a letter; more than a language needs reach into other lines.
_MARK = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILED = re.compile(f"({_MARK}{{3}}){_MARK}+")
#: What makes a command of a line in a CI log: `##[error]` and `##vso[` (GitHub, Azure), `##teamcity[`, `::error::`.
_COMMAND = re.compile(r"#(?=#\w*\[)|(?:^|(?<=\s)):(?=:)")
#: Characters of one text that are shown.
LONGEST = 4096


def plain(value: object, longest: int = LONGEST) -> str:
    """A value as one line of text: nothing in it moves the cursor, recolours, reorders, hides or stacks letters, or is
    a command to a CI system that reads the log.

    Control, formatting and unseen characters, other spaces and lone surrogates become U+FFFD; what is longer than
    `longest` characters loses its middle.
    """
    text = str(value)
    if len(text) > longest:
        text = f"{text[: longest // 2]} […] {text[-(longest // 2) :]}"
    text = _COMMAND.sub(r"\g<0> ", text)
    if text.isascii() and text.isprintable():
        return text
    seen = "".join(c if c.isprintable() else "�" for c in text)
    return _PILED.sub(r"\1", _UNSEEN.sub("�", seen))


def json_text(value: Any) -> str:
    """A JSON document that is plain ASCII and holds no command to a CI system's log.

    Raises:
        ValueError: a number is not finite.

    """
    return json.dumps(value, indent=2, allow_nan=False, default=str).replace("##", "#\\u0023") + "\n"
