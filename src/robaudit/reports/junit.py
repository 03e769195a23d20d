"""The report as JUnit XML: a test suite a checkpoint, for CI systems that show tests."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from robaudit.escaping import plain
from robaudit.reports.case import Case, Failure
from robaudit.reports.formatting import claim_text, minimum_text


def junit(cases: Sequence[Case | Failure]) -> str:
    """Overestimated and refuted are failures, inconclusive is skipped, what could not be audited is an error."""
    root = ET.Element("testsuites", name="robaudit")
    for item in cases:
        _suite(root, item)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, item: Case | Failure) -> None:
    suite = ET.SubElement(root, "testsuite", name=plain(item.name))
    if isinstance(item, Failure):
        test = _test(suite, item.name, "audit", 0.0)
        ET.SubElement(test, "error", message=plain(item.error))
    else:
        _tests(suite, item)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))


def _tests(suite: ET.Element, case: Case) -> None:
    data = case.data
    test = _test(suite, case.name, "robustness is not overestimated", data["cost"]["seconds"])
    summary = plain(f"{data['headline']['sentence']} {data['verdict']['summary']}")
    causes = "\n".join(plain(f"{c['code']}: {c['message']} {c['advice']}") for c in data["verdict"]["causes"])
    if data["verdict"]["outcome"] == "overestimated":
        ET.SubElement(test, "failure", message=summary, type="overestimated").text = causes
    elif data["verdict"]["outcome"] == "inconclusive":
        ET.SubElement(test, "skipped", message=summary)
    for asked, text in ((data["claim"], claim_text), (data["minimum"], minimum_text)):
        if not asked:
            continue
        title = f"robust accuracy of at least {100 * asked['value']:g} % under {asked['title']}"
        test = _test(suite, case.name, title, 0.0)
        if asked["outcome"] == "refuted":
            ET.SubElement(test, "failure", message=text(asked), type="refuted")
        elif asked["outcome"] == "inconclusive":
            ET.SubElement(test, "skipped", message=text(asked))


def _test(suite: ET.Element, model: str, name: str, seconds: float) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=plain(model), name=name, time=f"{seconds:.2f}")
