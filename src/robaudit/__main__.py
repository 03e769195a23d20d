"""`python -m robaudit`, and the `robaudit` command."""

from __future__ import annotations

import os
import sys
import traceback

from robaudit.cores import usable_cores


def main() -> None:
    """Run the command line; see `robaudit.cli.run` for the exit codes."""
    _keep_to_own_cores()
    try:
        from robaudit.cli import run  # noqa: PLC0415

        code = run(sys.argv[1:])
    except BaseException:  # a broken installation is not a verdict
        traceback.print_exc()
        code = 2
    sys.exit(code)


def _keep_to_own_cores() -> None:
    """As many threads as the process may use processors, before torch counts the machine's; what is set stays."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


if __name__ == "__main__":
    main()
