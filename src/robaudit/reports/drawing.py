"""matplotlib with its own settings only.

It takes a `matplotlibrc` from the working directory, which may be a stranger's: what that sets can start a program
(`text.usetex` runs LaTeX on a preamble of the file's), or make a picture of any size.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def drawing(options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Matplotlib's defaults and `options` hold in the block, and what held before holds after it."""
    mpl = _matplotlib()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(options or {})
        yield


def _matplotlib() -> Any:
    """The package, which reads the file when it is first imported: that is done where there is none."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    with contextlib.ExitStack() as there:
        folder = there.enter_context(tempfile.TemporaryDirectory())
        with contextlib.suppress(OSError):  # the working directory is gone, and nothing lies in it
            there.enter_context(contextlib.chdir(folder))
        return importlib.import_module("matplotlib")
