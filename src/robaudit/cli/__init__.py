"""The command line: print and exit. The library returns; only this room speaks."""

from robaudit.cli.app import run

__all__ = ["run"]
