"""The one error that users see: what is wrong, and what to do about it."""

from __future__ import annotations


class RobauditError(Exception):
    """Could not audit: bad usage, a bad file, the wrong data set. The command line exits with code 2.

    The message is one or two lines. It begins with the offending thing (a path, a flag, a value) and ends
    with what was expected or what to do.
    """

    def __str__(self) -> str:
        """The message, in which a stranger's text is only text: Python prints it wherever nobody catches the error."""
        from robaudit.escaping import plain  # noqa: PLC0415  `import robaudit` alone imports next to nothing

        return "\n".join(map(plain, super().__str__().split("\n")))
