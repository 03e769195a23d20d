"""HTML and SVG, whose every value is escaped: by Jinja2's templates, and by `Markup.format` for drawings."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from robaudit.escaping import plain

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The file `template` of this package's `templates/` with these values, each as text unless it is `Markup`."""
    return _environment().get_template(template).render(**values)


def markup(template: str, *values: object, **named: object) -> Markup:
    """`template` with its `{}` filled in: numbers as they stand, text escaped and without control characters."""
    return Markup(template).format(*map(_tame, values), **{name: _tame(item) for name, item in named.items()})


def _tame(value: object) -> object:
    return value if isinstance(value, Markup | int | float) else plain(value)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  slow to import

    return Environment(
        loader=PackageLoader("robaudit.reports"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
