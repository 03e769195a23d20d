"""HTML and SVG, whose every value is escaped: by Jinja2's templates, and by `Markup.format` for drawings."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from robaudit.escaping import plain
from robaudit.wording import examples

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The file `template` of this package's `templates/` with these values, each as text unless it is `Markup`."""
    return _environment().get_template(template).render(**values)


@cache
def asset(name: str) -> str:
    """A style sheet or script of this package."""
    return (resources.files("robaudit.reports") / name).read_text(encoding="utf-8")


def content_policy(style: str, script: str = "") -> str:
    """What a page's content security policy allows: its own style and script, by their digests, and images in it."""
    allowed = f"'{_digest(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def markup(template: str, *values: object, **named: object) -> Markup:
    """`template` with its `{}` filled in: numbers as they stand, text escaped and without control characters."""
    return Markup(template).format(
        *map(_escape_value, values), **{name: _escape_value(item) for name, item in named.items()}
    )


def _escape_value(value: object) -> object:
    return value if isinstance(value, Markup | int | float) else plain(value)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  slow to import

    environment = Environment(
        loader=PackageLoader("robaudit.reports"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["examples"] = examples
    return environment
