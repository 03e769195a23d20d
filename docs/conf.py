"""How `make docs` builds the site: Markdown through MyST, formulas as MathML, nothing fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import robaudit

project = "robaudit"
release = robaudit.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"robaudit {release}"
html_copy_source = False
# A page without a word has no title to link to.
exclude_patterns = [page.name for page in Path(__file__).parent.glob("*.md") if not page.stat().st_size]
html_show_copyright = False
html_extra_path = ["../src/robaudit/reports/robaudit-1.schema.json"]


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Formulas that a browser draws by itself, offline."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
