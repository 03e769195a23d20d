"""`python -m robaudit`, and the `robaudit` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; see `robaudit.cli.run` for the exit codes."""
    from robaudit.cli import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
