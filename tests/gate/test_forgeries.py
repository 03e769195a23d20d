"""`gate --verify` against forged evidence: each forgery is refused by what it is, and honest evidence passes."""

import json
import shutil

import pytest

from robaudit.cli import run
from robaudit.cli.gate_evidence import evidence_place
from robaudit.cli.policy import read_policies
from tests.evidence.edits import editing
from tests.gate.forgeries import FORGERIES
from tests.gate.forging import (
    BUDGET,
    edit_header,
    evidence_of,
    header,
    set_header,
    survive,
)
from tests.shipped import ADVERSARIAL, DISTILLED

POLICY = "models = ['*.safetensors']\ndataset = 'digits'\nlimit = 64\nevidence = 'kept'\n"


def policy(budget=BUDGET, extra=""):
    return POLICY + extra + "[budget]\n" + "".join(f"{name} = {value}\n" for name, value in budget.items())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of the two shipped models, whose gate has made the evidence."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(ADVERSARIAL, folder / "honest.safetensors")
    shutil.copy(DISTILLED, folder / "masked.safetensors")
    (folder / "robaudit.toml").write_text(policy())
    run(["gate", "--policy", str(folder / "robaudit.toml")])
    return folder


@pytest.fixture
def project(made, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    return folder


def verified(folder, name, capsys):
    """The exit code of `gate --verify` and what it prints."""
    capsys.readouterr()
    code = run(
        ["gate", "--policy", str(folder / "robaudit.toml"), "--verify", str(folder / f"{name}.safetensors")]
    )
    return code, capsys.readouterr().out


@pytest.mark.parametrize(("name", "code"), [("honest", {0, 3}), ("masked", {1})])
def test_honest_evidence_passes_and_what_was_done_again_is_said(name, code, project, capsys):
    found, out = verified(project, name, capsys)
    assert found in code
    assert "16 of " in out
    assert "survivors attacked again, seed " in out
    assert "(re-checked)" in out
    assert "all clean predictions" in out


@pytest.fixture
def drawn_alike(monkeypatch):
    """Draws that are always the same, and meet a forged pair: 16 of them miss a share of one in seven now and then."""
    monkeypatch.setattr("secrets.randbits", lambda _: 11)


@pytest.mark.parametrize(("forge", "says"), FORGERIES, ids=lambda item: getattr(item, "__name__", ""))
@pytest.mark.usefixtures("drawn_alike")
def test_a_forgery_is_refused_by_what_it_is(forge, says, project, capsys):
    path = evidence_of(project, "masked")
    with editing(path) as db:
        forge(db, path)
    code, out = verified(project, "masked", capsys)
    assert code == 2, out
    assert "could not audit" in out
    texts = out if says in out else all_failures(project, path, capsys)
    assert says in texts, texts


def all_failures(project, path, capsys):
    """The gate names the first thing that is wrong; `verify` all of them."""
    capsys.readouterr()
    model = str(project / "masked.safetensors")
    assert run(["verify", str(path), model, "--dataset", "digits", "--recompute", "16"]) == 2
    return capsys.readouterr().out


def test_evidence_written_from_nothing_is_found(project, capsys):
    """Every example right, every attack survived, every number plausible; and nobody ever attacked."""
    path = evidence_of(project, "masked")
    with editing(path) as db:
        survive(db, path, "1")
        have = {key for (key,) in db.execute("SELECT id FROM outcomes WHERE attack = 'square'")}
        every = [key for (key,) in db.execute("SELECT id FROM examples WHERE label = prediction")]
        some = next(iter(have))
        for name in ("square", "apgd-ce", "apgd-t", "fab-t", "pgd10"):
            for key in every:
                db.execute(
                    "INSERT OR IGNORE INTO outcomes SELECT attack, ?, 0, steps, forwards, backwards, NULL "
                    "FROM outcomes WHERE attack = ? AND id = ? AND outcome = 0",
                    (key, name, some),
                )
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "is said to survive" in out


def copied_for(project, text):
    """The evidence of the masked model, under the name that it would have for another policy."""
    source = evidence_of(project, "masked")
    (project / "robaudit.toml").write_text(text)
    target = evidence_place(project / "masked.safetensors", read_policies(project / "robaudit.toml")[0])
    shutil.copy(source, target)
    return target


def test_a_small_budget_called_a_large_one_is_refused(project, capsys):
    larger = BUDGET | {"square-queries": 5000, "apgd-steps": 100}
    target = copied_for(project, policy(larger))
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "another policy (budget" in out
    with editing(target) as db:
        edit_header(
            db, "plan", budget=header(db, "plan")["budget"] | {"square_queries": 5000, "apgd_steps": 100}
        )
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "fewer steps than the plan has" in out


def test_survivors_of_another_seed_are_not_this_ones(project, capsys):
    target = copied_for(project, policy(extra="seed = 1\n"))
    assert "another policy (seed" in verified(project, "masked", capsys)[1]
    with editing(target) as db:
        edit_header(db, "plan", seed=1)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "not those that this seed and limit choose" in out


def test_another_models_evidence_is_not_this_ones(project, capsys):
    honest, masked = evidence_of(project, "honest"), evidence_of(project, "masked")
    with editing(masked) as db:
        model = header(db, "model")
    shutil.copy(honest, masked)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "is not the model of this evidence" in out
    with editing(masked) as db:
        set_header(db, "model", model)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "witnesses fail" in out


@pytest.mark.parametrize("how", ["batch", "bf16", "threads"])
def test_honest_evidence_of_another_machine_passes(how, project, capsys, monkeypatch):
    """Another batch size, precision or number of threads: the outcomes are the same but for rounding."""
    from robaudit.engine import Tuning

    path = evidence_of(project, "masked")
    path.unlink()
    with monkeypatch.context() as patch:
        settings = {"batch": Tuning(3, 1), "threads": Tuning(16, 1, 2, 1)}
        if how in settings:
            patch.setattr("robaudit.audit.session.tune", lambda *_, **__: settings[how])
        words = ["--precision", "bf16"] if how == "bf16" else []
        arguments = [f"--{name}={value}" for name, value in BUDGET.items()]
        model = str(project / "masked.safetensors")
        common = ["--dataset", "digits", "--limit", "64", "--evidence", str(path)]
        assert run(["check", model, *common, *arguments, *words]) == 1, capsys.readouterr().err
    code, out = verified(project, "masked", capsys)
    assert code == 1, out
    assert "re-checked" in out


def test_a_policy_asks_for_more_or_for_none_and_that_is_said(project, capsys):
    target = project / "robaudit.toml"
    target.write_text(policy(extra="recompute = 0\n"))
    code, out = verified(project, "masked", capsys)
    assert code == 1
    assert "survivors attacked again" in out
    assert "none of " in out
    target.write_text(policy(extra="recompute = 40\n"))
    assert "40 of " in verified(project, "masked", capsys)[1]


def test_the_report_says_what_was_found_and_the_seed_finds_it_again(project, capsys, tmp_path):
    path, model = evidence_of(project, "masked"), project / "masked.safetensors"
    words = [
        "verify",
        str(path),
        str(model),
        "--dataset",
        "digits",
        "--recompute",
        "16",
        "--json",
        str(tmp_path / "v"),
    ]
    assert run(words) == 1
    out = capsys.readouterr().out
    assert "Had more than 25 % of them been forged, it would have been found with probability 0.99." in out
    first = json.loads((tmp_path / "v").read_text())["recomputed"]
    assert run([*words, "--recompute-seed", str(first["seed"])]) == 1
    again = json.loads((tmp_path / "v").read_text())["recomputed"]
    assert again["pairs"] == first["pairs"]
    assert run(words) == 1
    assert json.loads((tmp_path / "v").read_text())["recomputed"]["seed"] != first["seed"]
    capsys.readouterr()
    assert run(["verify", str(path), str(model)]) == 1
    assert "is the file's word" in capsys.readouterr().out
    assert run(["verify", str(path), str(model), "--recompute", "4"]) == 2


def test_the_reference_gives_a_second_opinion(project, capsys):
    path, model = str(evidence_of(project, "honest")), str(project / "honest.safetensors")
    words = ["verify", path, model, "--dataset", "digits", "--recompute", "4", "--engine", "reference"]
    assert run(words) in (0, 3)
    assert "by pyautoattack" in capsys.readouterr().out


def test_without_pyautoattack_that_is_said(project, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyautoattack", None)
    path, model = str(evidence_of(project, "honest")), str(project / "honest.safetensors")
    words = ["verify", path, model, "--dataset", "digits", "--recompute", "4", "--engine", "reference"]
    assert run(words) == 2
    assert "pip install pyautoattack" in capsys.readouterr().err
