"""What may stand in a report, whatever the texts in it are."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from markdown_it import MarkdownIt

from robaudit.verdict import pages

#: An attempt on each of the places that a text may go to.
TEXT = (
    "\"'><script>alert(1)</script>\x1b]0;t\x07\x9b31m\n::error::no\r\n##[error]no\u202e\u200b\u2028\ufeff "
    "|[x](javascript:y) "
    "</textarea><img src=x onerror=alert(1)> ]]> --> &#x0; `c` **b** @user #1 $x_{2$ {{7*7}} {% raw %} =cmd|'/c'!A1 "
    "[red]r[/red] [link=http://z.example]l[/link] ${{ github.token }} ##vso[task.setvariable]x ../../etc \ud800"
)
_TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "strong", "section", "h2", "ul", "li", "br",
    "svg", "path", "rect", "text", "polyline", "polygon", "table", "tr", "th", "td", "code", "pre", "div", "figure",
    "img", "figcaption", "b", "small", "g", "nav", "a", "main", "h3", "dl", "dt", "dd", "details", "summary", "circle",
}  # fmt: skip
_DOCUMENTED = {page.url for page in pages().values()}


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.faults = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in _TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if (
                name.startswith("on")
                # only to a part of the page itself, or to a finding's page in our own documentation
                or (name == "href" and not re.fullmatch(r"#[a-z-]+", value) and value not in _DOCUMENTED)
                or (name == "src" and not value.startswith("data:image/png"))
            ):
                self.faults.append(f"{name}={value}")
            if name == "http-equiv" and value != "Content-Security-Policy":
                self.faults.append(value)


def printed(form, text):
    """What a report of this format holds that it must not; empty where all is well."""
    faults = [repr(c) for c in sorted(set(text)) if not c.isprintable() and c != "\n"]
    faults += [line[:40] for line in text.splitlines() if line.lstrip().startswith("::")]
    faults += re.findall(r"##\w*\[", text)
    try:
        if form in ("json", "sarif"):
            json.loads(text)
        if form in ("junit", "badge"):
            ET.fromstring(text)
    except (ValueError, ET.ParseError) as error:
        faults.append(f"{type(error).__name__}: {error}")
    if form in ("html", "notebook", "badge"):
        faults += _Page(text).faults
    if form in ("markdown", "model-card"):
        text = text.removeprefix("---\n").split("\n---\n")[-1]
        page = MarkdownIt("commonmark").enable("table").render(text)
        faults += re.findall(r"<(?:script|img|a)\b[^>]*>", page) + re.findall(r"@user", page)
    return ", ".join(faults[:5])
