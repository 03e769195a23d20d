"""`--surrogate` and `--transfer`: attacks that search with another model's gradient."""

import pytest
import torch
from torch import nn

import robaudit
from robaudit import RobauditError
from robaudit.api.models import from_module
from robaudit.audit import verify
from robaudit.audit.helpers import StraightThrough
from robaudit.cli import run
from robaudit.engine import tuning
from tests.cli.helpers import assert_clear
from tests.models import Wrapped, cnn
from tests.shipped import ADVERSARIAL

X = torch.rand(70, 1, 8, 8, generator=torch.Generator().manual_seed(0))
EPS = 0.15


class Stepped(nn.Module):
    """The network behind steps of a sixteenth, which have no gradient."""

    def __init__(self):
        super().__init__()
        self.inner = cnn(classes=4)

    def forward(self, x):
        return self.inner((x * 16).round() / 16)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    model = Stepped().eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PATIENCE", 0.02)
        yield robaudit.check(
            model, X, model(X).argmax(1), eps=EPS, attacks="pgd10", apgd_steps=20,
            surrogate=cnn(classes=4), transfer=cnn(classes=4),
            evidence=tmp_path_factory.mktemp("helpers") / "a.evidence",
        )  # fmt: skip


def test_each_is_an_attack_of_the_table_and_the_verdict(result):
    accuracy = {name: found.value for name, found in result.accuracy.items()}
    assert max(accuracy["surrogate"], accuracy["transfer"]) < accuracy["pgd10"] - 0.2
    assert result.gap["pgd10-surrogate"].low > 0.1
    assert result.verdict.outcome == "overestimated"
    codes = {item.code for item in result.verdict.causes}
    assert {"surrogate-beats-white-box", "transfer-beats-white-box"} <= codes
    text = result.report("terminal")
    assert "Surrogate (BPDA)" in text
    assert "PGD-10 − Transfer" in text
    assert "transfer: <Sequential>" in text


def test_verify_needs_no_other_model(result):
    found = verify(result.path, from_module(Stepped(), 1))
    assert found.witnesses > 0
    assert not found.failures


def test_another_surrogate_is_another_audit(result):
    model = Stepped().eval()
    with pytest.raises(RobauditError, match="another plan"):
        robaudit.check(
            model, X, model(X).argmax(1), eps=EPS, attacks="pgd10", apgd_steps=20, evidence=result.path,
            surrogate=cnn(classes=4, seed=2), transfer=cnn(classes=4),
        )  # fmt: skip


def test_straight_through_answers_as_one_and_has_the_gradient_of_the_other():
    model, other = Stepped(), cnn(classes=4, seed=3)
    x = X[:5].clone().requires_grad_()
    answers = StraightThrough(model, other)(x)
    assert torch.allclose(answers, model(X[:5]), atol=1e-6)
    (mine,) = torch.autograd.grad(answers[:, 0].sum(), x)
    (theirs,) = torch.autograd.grad(other(x)[:, 0].sum(), x)
    assert torch.allclose(mine, theirs)


@pytest.mark.parametrize(
    ("helpers", "message"),
    [
        ({"surrogate": cnn(classes=5)}, r"surrogate: gives \(8, 5\) .* the model \(8, 4\)"),
        ({"transfer": cnn(classes=3)}, r"transfer: gives \(8, 3\)"),
        ({"surrogate": Stepped()}, "surrogate: its gradient is zero everywhere"),
        (
            {"surrogate": Wrapped(lambda x: cnn(classes=4)(x) * float("nan"))},
            "surrogate: its logits are not finite",
        ),
        (
            {
                "surrogate": Wrapped(
                    lambda x: cnn(classes=4)(x).abs().log1p().sqrt() * (x.sum() - x.sum()).sqrt()
                )
            },
            "surrogate: its gradient is not finite",
        ),
        ({"surrogate": Wrapped(lambda x: x.reshape(3, 5))}, "surrogate: does not take images"),
    ],
)
def test_a_helper_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, helpers, message):
    model = Stepped().eval()
    with pytest.raises(RobauditError, match=message):
        robaudit.check(model, X, model(X).argmax(1), eps=EPS, evidence=tmp_path / "a", **helpers)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--transfer", "missing.pt"], "missing.pt: no such file"),
        (["--surrogate", "stand_in"], "--surrogate stand_in: names no factory"),
        (["--surrogate", "missing.py:build"], "--surrogate missing.py:build: no file missing.py"),
        (["--attacks", "pgd10,transfer"], "attack 'transfer' comes with --transfer"),
    ],
)
def test_bad_flags_are_one_clear_error(capsys, monkeypatch, tmp_path, arguments, start):
    monkeypatch.chdir(tmp_path)
    code = run(["check", str(ADVERSARIAL), "--dataset", "digits", "--evidence", "new.evidence", *arguments])
    assert_clear(capsys, code, start)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "cache"])


def test_a_helper_of_too_few_classes_is_not_blamed_on_the_data(capsys, tmp_path):
    (tmp_path / "seven.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))\n"
    )
    model = f"{tmp_path / 'seven.py'}:build"
    for flag in ("--surrogate", "--transfer"):
        code = run(["check", str(ADVERSARIAL), "--dataset", "digits", flag, model])
        error = capsys.readouterr().err
        assert code == 2
        assert error.startswith(f"{flag} {model}: has 7 classes, digits has 10; pass another {flag}"), error


def test_the_reference_engine_has_no_such_attack(tmp_path):
    model, kept = cnn(classes=4), tmp_path / "e"
    with pytest.raises(RobauditError, match="surrogate: the reference engine has no such attack"):
        robaudit.check(
            model,
            X,
            model(X).argmax(1),
            eps=EPS,
            attacks="pgd10",
            engine="reference",
            surrogate=model,
            evidence=kept,
        )
    assert not kept.exists()
