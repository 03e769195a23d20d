"""The docs say what the code does."""

import re
from pathlib import Path

import pytest

from robaudit.verdict import ADVICE

DOCS = Path(__file__).parent.parent / "docs"


def test_every_finding_has_its_entry_and_every_entry_its_finding():
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S))
    assert set(entries) == set(ADVICE)
    for code, body in entries.items():
        assert body.startswith(f"*{ADVICE[code][0]}.*"), code
        for part in ("**Raised when**", "**What it means:**", "**What to do:**"):
            assert part in re.sub(r"\s+", " ", body), (code, part)


@pytest.mark.parametrize(
    "page", [*DOCS.glob("**/*.md"), DOCS.parent / "README.md"], ids=lambda page: page.name
)
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
