"""What `robaudit.check` gives back: shown, written, kept."""

import gc
import json
from importlib import resources

import jsonschema
import pytest
import torch

import robaudit
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, inside
from robaudit.reports import REPORTS
from tests.api.digits import SHORT, digits
from tests.models import Wrapped
from tests.shipped import ADVERSARIAL


def test_the_adversarial_examples_are_what_they_say(model, plain):
    pixels, labels = digits()
    x, y = torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.from_numpy(labels)
    found = plain.adversarial
    assert len(found.x_adv) == len(found.y) == len(found.ids) == len(found.attacks) > 0
    assert found.x_adv.dtype == torch.float32
    assert torch.equal(found.y, y[found.ids])
    threat = plain.evidence.header.plan.threat
    assert inside(found.x_adv.numpy(), x[found.ids].numpy(), threat).all()
    with torch.no_grad():
        assert (model(found.x_adv).argmax(1) != found.y).all()
    broken = {
        int(key)
        for record in plain.evidence.attacks.values()
        for key in plain.evidence.ids[record.outcome == Outcome.BROKEN]
    }
    assert found.ids.tolist() == sorted(broken)


def test_what_a_result_shows_and_writes(plain, tmp_path):
    assert plain.verdict.outcome in repr(plain)
    assert "PGD-4 reports" in repr(plain)
    assert "AutoAttack" in str(plain)
    bundle = plain._repr_mimebundle_()
    assert bundle["text/plain"] == str(plain)
    assert "<script" not in bundle["text/html"]
    assert f"{100 * plain.accuracy['clean'].value:.1f}" in bundle["text/html"]
    for form in REPORTS:
        assert plain.report(form), form
    schema = json.loads(resources.files("robaudit.reports").joinpath("robaudit-1.schema.json").read_text())
    jsonschema.validate(plain.to_dict(), schema)
    assert json.loads(plain.save(tmp_path / "a.json").read_text()) == plain.to_dict()
    assert plain.save(tmp_path / "a.html").read_text().startswith("<!doctype html>")
    kept = plain.save(tmp_path / "a.evidence")
    again = robaudit.Result.open(kept)
    assert again.to_dict() == plain.to_dict()
    assert torch.equal(again.adversarial.x_adv, plain.adversarial.x_adv)
    assert again.save(kept) == kept, "onto itself is not a loss"
    assert kept.stat().st_size > 1000
    with pytest.raises(RobauditError, match="format 'pdf' is not known"):
        plain.report("pdf")
    with pytest.raises(RobauditError, match=r"missing/a\.json: cannot be written"):
        plain.save(tmp_path / "missing" / "a.json")


def test_the_report_of_a_module_says_how_to_repeat_it_from_python(plain):
    assert "robaudit.check(model, images, labels, examples=" in plain.report("html").replace("&#x27;", "'")


def test_a_strangers_name_is_only_text(model):
    hostile = type("<img src=x onerror=alert(1)>\x1b[31m", (Wrapped,), {})(model)
    pixels, labels = digits()
    result = robaudit.check(hostile, pixels, labels, eps=0.1, limit=10, **SHORT)
    for text in (result._repr_html_(), result.report("html"), str(result), repr(result)):
        assert "<img src=x" not in text or text in (str(result), repr(result))
        assert "\x1b" not in text


def test_a_result_stays_what_it_was_when_its_file_is_gone_on_with(tmp_path):
    def audited(**more):
        path, short = tmp_path / "one.evidence", {"apgd_steps": 20, "square_queries": 110, "fab_steps": 3}
        return robaudit.check(ADVERSARIAL, "digits", limit=300, evidence=path, **short, **more)

    before = audited(within=8)
    shown = before.report("json")
    after = audited(within=1)
    assert after.accuracy["autoattack"] != before.accuracy["autoattack"]
    assert json.loads(before.report("json")) == json.loads(shown)
    assert f"{100 * before.accuracy['autoattack'].low:.1f}" in before.report("terminal")


def test_in_a_notebook_a_result_is_shown_once(plain, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("printed beside the result"))
    assert "PGD-10" in plain._repr_mimebundle_()["text/plain"]


def test_the_evidence_of_a_module_goes_with_its_result(model):
    pixels, labels = digits()
    result = robaudit.check(model, pixels, labels, eps=0.1, limit=10, **SHORT)
    place = result.path
    assert place.exists()
    del result
    gc.collect()
    assert not place.exists()
