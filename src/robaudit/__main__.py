"""`python -m robaudit`, and the `robaudit` command."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  no more is imported yet
    # `python -m` looks in the working directory first, where a stranger's numpy.py may lie; `robaudit` does not.
    del sys.path[0]

import gc
import traceback

from robaudit.cores import usable_cores

#: When objects that may refer to each other are gone through: importing torch makes half a million that all stay, and
#: going through them 500 times, as by default, is a tenth of a short audit.
_GARBAGE = 20_000, 10, 10


def main() -> None:
    """Run the command line; see `robaudit.cli.run` for the exit codes."""
    _be_a_good_neighbour()
    gc.set_threshold(*_GARBAGE)
    try:
        from robaudit.cli import run  # noqa: PLC0415

        code = run(sys.argv[1:])
    except BaseException:  # a broken installation is not a verdict
        traceback.print_exc()
        code = 2
    gc.freeze()  # else Python's end goes through all of torch's objects again: a quarter of a short command
    sys.exit(code)


def _be_a_good_neighbour() -> None:
    """Threads for the processors that the process may use, which sleep while they wait for each other.

    Those that spin wait for one that is not running where a core is busy with something else: an epoch of half a second
    took a minute. Both must be told before torch is imported; what is set already stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


if __name__ == "__main__":
    main()
