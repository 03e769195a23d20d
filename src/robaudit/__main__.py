"""`python -m robaudit`, and the `robaudit` command."""

from __future__ import annotations

import sys
import traceback


def main() -> None:
    """Run the command line; see `robaudit.cli.run` for the exit codes."""
    try:
        from robaudit.cli import run  # noqa: PLC0415

        code = run(sys.argv[1:])
    except BaseException:  # a broken installation is not a verdict
        traceback.print_exc()
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
