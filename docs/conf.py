"""How `make docs` builds the site: Markdown through MyST, formulas as MathML, nothing fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import robaudit
from robaudit.verdict import pages

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


#: Made anew by each build: a page for every finding of findings.md.
_FINDINGS = Path(__file__).parent / "findings"


def _write_findings() -> None:
    _FINDINGS.mkdir(exist_ok=True)
    for page in pages().values():
        text = page.text.replace("](", "](../").replace("](../http", "](http")
        (_FINDINGS / f"{page.code}.md").write_text(f"# {page.code}\n\n{text}\n", encoding="utf-8")


def _list_findings(_: Sphinx, name: str, source: list[str]) -> None:
    """In the built site findings.md is the list of their pages, each entry under its old place."""
    if name != "findings":
        return
    intro = source[0].partition("\n## ")[0]
    entries = [
        f"## {page.code}\n{page.sentence} [More](findings/{page.code}.md)." for page in pages().values()
    ]
    tree = "```{toctree}\n:hidden:\n:glob:\n\nfindings/*\n```"
    source[0] = "\n\n".join([intro, *entries, tree, ""])


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Formulas that a browser draws by itself, offline; and a page a finding."""
    _write_findings()
    app.connect("source-read", _list_findings)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
