"""Standard output and error as strangers' text can reach them: any encoding, no command to a CI system, no crash."""

from __future__ import annotations

import codecs
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

from robaudit.escaping import plain

#: What stands for characters that an encoding lacks.
_INSTEAD = str.maketrans(
    {
        "…": "...",
        "−": "-",
        "–": "-",
        "→": "->",
        "×": "x",
        "✗": "x",
        "·": "-",
        "“": '"',
        "”": '"',
        "’": "'",
        "±": "+-",
    }
    | dict.fromkeys("─━┄┈═╌", "-")
    | dict.fromkeys("│┃║╎", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+")
)
#: A colon of `::` at the start of a line, and the bracket of `##[` and `##vso[`: a space goes behind or before them.
_COLON = re.compile(r"((?:\A|[\r\n])[^\S\r\n]*:)(?=:)")
_BRACKET = re.compile(r"(##\w*)(?=\[)")
#: Characters of an unfinished line that are kept to look at.
_KEPT = 100
#: Characters of a line of an error message, and its lines at most.
_LONGEST_LINE, _MOST_LINES = 700, 3


class Guarded:
    """A text stream on which no line is a command to GitHub, Azure or TeamCity (`::error::`, `##[error]`)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        """Pass `text` on, with a space in what would be a command."""
        whole = _BRACKET.sub(r"\1 ", _COLON.sub(r"\1 ", self._line + text))
        self._stream.write(whole[len(self._line) :])
        line = re.split(r"[\r\n]", whole)[-1]
        self._line = line if len(line) <= _KEPT else "x" + line[-_KEPT:]
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Each line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and error are `Guarded` in the block, warnings are plain lines, and nothing cannot be encoded."""
    codecs.register_error("robaudit", _replaced)
    before, formatted = (sys.stdout, sys.stderr), warnings.formatwarning
    for stream in before:
        with suppress(AttributeError, ValueError, OSError):  # closed, or somebody's own
            cast("TextIOWrapper", stream).reconfigure(errors="robaudit")
    sys.stdout, sys.stderr = (stream and Guarded(stream) for stream in before)
    warnings.formatwarning = _formatted
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        warnings.formatwarning = formatted


def annotate(text: str) -> None:
    """Write the annotations of `reports.annotations` to standard output, past the guard: they are meant as commands.

    A line that is none is not written.
    """
    stream = sys.stdout._stream if isinstance(sys.stdout, Guarded) else sys.stdout
    for line in text.split("\n"):
        if re.fullmatch(r"::(?:error|warning|notice) file=[^,:]+,title=[^,:]+::[^\r\n]+", line):
            stream.write(f"{line}\n")


def complain(message: str, *, debug: bool = False) -> None:
    """Write an error's few lines to standard error, before them the traceback if wanted.

    More line breaks than an error of ours has came with a file's name; they are no breaks.
    """
    lines = [plain(line, _LONGEST_LINE) for line in message.rsplit("\n", _MOST_LINES - 1) if line]
    if debug:
        lines = [*map(plain, traceback.format_exc().splitlines()), *lines]
    with suppress(OSError, ValueError, AttributeError):  # nobody may be listening
        sys.stderr.write("".join(f"{line}\n" for line in lines))


def _formatted(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> str:
    return f"{category.__name__}: {plain(message)}\n"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_INSTEAD)
    return "".join(c if c.isascii() else "?" for c in text), error.end
