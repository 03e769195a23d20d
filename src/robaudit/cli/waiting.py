"""What is seen while nothing is known yet: a line that moves on a terminal, after half a minute a line elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from robaudit.escaping import plain

#: As `audit.bars.QUIET_SECONDS`, which costs an import of torch to ask for.
_QUIET_SECONDS = 30.0


@contextmanager
def working(text: str, quiet: bool = False) -> Iterator[None]:
    """Say what is going on while the block runs, on standard error, unless `quiet`."""
    if quiet:
        yield
        return
    from rich.console import Console
    from rich.text import Text

    screen = Console(stderr=True, emoji=False)
    if screen.is_terminal:
        with screen.status(Text(plain(text))):
            yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_QUIET_SECONDS):
            print(plain(text), file=sys.stderr, flush=True)

    watch = threading.Thread(target=beat, daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
