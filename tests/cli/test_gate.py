"""`robaudit gate`: exit codes, exceptions, what is audited again and what is not."""

import datetime
import json
import shutil
from unittest.mock import ANY

import pytest

from robaudit.cli import run
from robaudit.cli.policy import read_policies
from robaudit.evidence import EvidenceFile
from robaudit.verdict import accuracy
from tests.cli.helpers import assert_clear
from tests.evidence.edits import editing, leave_half_written

POLICY = """
models = ["*.safetensors"]
dataset = "digits"
limit = 120
min-robust-accuracy = 0.3
evidence = "kept"
[budget]
apgd-steps = 10
fab-steps = 5
square-queries = 200
targets = 2
"""
TOMORROW = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)
YESTERDAY = TOMORROW - datetime.timedelta(days=2)


def read(path):
    with EvidenceFile.open(path) as file:
        return file.read()


@pytest.fixture(scope="module")
def project(audited, tmp_path_factory):
    """A project whose gate has run once: its exit code and folder."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("honest", "masked"):
        shutil.copy(audited / f"{name}.safetensors", folder)
    (folder / "robaudit.toml").write_text(POLICY)
    outputs = [f"--{kind}={folder / kind}" for kind in ("sarif", "junit", "markdown", "json")]
    return run(["gate", "--policy", str(folder / "robaudit.toml"), *outputs]), folder


def test_the_gate_fails_and_says_why_in_every_format(project):
    code, folder = project
    assert code == 1
    reports = json.loads((folder / "json").read_text())["reports"]
    outcomes = {item["model"]["path"].rsplit("/", 1)[1]: item["verdict"]["outcome"] for item in reports}
    assert outcomes == {"honest.safetensors": "not-overestimated", "masked.safetensors": "overestimated"}
    assert "overestimated" in (folder / "sarif").read_text()
    assert 'failures="1"' in (folder / "junit").read_text()
    assert "OVERESTIMATED" in (folder / "markdown").read_text()


def test_only_what_changed_is_audited_again(project, tmp_path, capsys, monkeypatch):
    _, folder = project
    copy = tmp_path / "again"
    shutil.copytree(folder, copy)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("robaudit.cli.gate_judging.check_one", lambda *_: pytest.fail("attacked again"))
        assert run(["gate", "--policy", str(copy / "robaudit.toml")]) == 1
        out = capsys.readouterr().out
        assert out.count("(unchanged)") == 2
    seen = []
    monkeypatch.setattr("robaudit.cli.gate_judging.check_one", lambda model, *_: seen.append(model))
    (copy / "robaudit.toml").write_text(POLICY.replace("limit = 120", "limit = 119"))
    run(["gate", "--policy", str(copy / "robaudit.toml"), str(copy / "honest.safetensors")])
    assert seen == [str(copy / "honest.safetensors")], "another policy, another audit"


@pytest.mark.parametrize("when", ["in the middle of a write", "before any example"])
def test_a_gate_that_was_killed_goes_on(project, tmp_path, when):
    _, folder = project
    copy = tmp_path / "killed"
    shutil.copytree(folder, copy)
    (path,) = (copy / "kept").glob("honest-*")
    before = read(path)
    with editing(path) as db:
        db.execute("UPDATE header SET value = 'false' WHERE key = 'finished'")
        for table in ("outcomes", "answers", "images", "metrics", "examples"):
            db.execute(f"DELETE FROM {table}" if when == "before any example" else "SELECT 1")
    if when == "in the middle of a write":
        leave_half_written(path)
    assert run(["gate", "--policy", str(copy / "robaudit.toml"), str(copy / "honest.safetensors")]) == 0
    assert accuracy(read(path), "autoattack") == accuracy(before, "autoattack")


def test_evidence_made_elsewhere_is_only_re_checked(project, tmp_path, capsys):
    _, folder = project
    copy = tmp_path / "runner"
    shutil.copytree(folder, copy)
    capsys.readouterr()
    policy = ["--policy", str(copy / "robaudit.toml"), "--verify"]
    assert run(["gate", *policy, str(copy / "honest.safetensors")]) == 0
    assert "(re-checked)" in capsys.readouterr().out
    for file in (copy / "kept").glob("honest-*"):
        with editing(file) as db:
            one = "SELECT witness FROM outcomes WHERE outcome = 1 LIMIT 1"
            db.execute(f"UPDATE outcomes SET witness = ({one}) WHERE outcome = 1")
    assert run(["gate", *policy, str(copy / "honest.safetensors")]) == 2
    assert "witnesses fail" in capsys.readouterr().out
    shutil.rmtree(copy / "kept")
    assert run(["gate", *policy]) == 2
    assert "no evidence of this content" in capsys.readouterr().out


def gate_with(project, tmp_path, extra):
    _, folder = project
    copy = tmp_path / "with"
    shutil.copytree(folder, copy)
    (copy / "robaudit.toml").write_text(extra + POLICY if "[[" not in extra else POLICY + extra)
    return run(["gate", "--policy", str(copy / "robaudit.toml")])


def test_a_sampled_minimum_is_decided_by_the_interval_and_taken_up_again(audited, tmp_path, capsys):
    """Evidence that was enough for a lower minimum, or for none, is gone on with where more is asked."""
    shutil.copy(audited / "honest.safetensors", tmp_path)
    policy = tmp_path / "robaudit.toml"

    def gate(minimum, *extra):
        text = POLICY.replace("limit = 120", "within = 1").replace("0.3", str(minimum))
        policy.write_text(text)
        code = run(["gate", "--policy", str(policy), *extra])
        return code, capsys.readouterr().out

    def measured():
        (file,) = (tmp_path / "kept").glob("*.evidence")
        return accuracy(read(file), "autoattack")

    assert gate(0.3) == (0, ANY)
    first = measured()
    assert first.low >= 0.3
    assert first.high - first.low > 0.02, "a lower minimum needs less than a point"
    between = round((first.low + first.high) / 2, 3)
    code, out = gate(between)
    assert "(audited)" in out
    second = measured()
    assert code == (0 if second.low >= between else 1)
    assert second.low >= between or second.high < between
    code, out = gate(between, "--verify")
    assert code == (0 if second.low >= between else 1), out
    policy.write_text(policy.read_text().replace(f"min-robust-accuracy = {between}", ""))
    assert run(["gate", "--policy", str(policy)]) == 0
    assert measured().high - measured().low <= 0.02 + 1e-9


def test_a_more_precise_policy_goes_on_from_the_same_evidence(audited, tmp_path, capsys):
    shutil.copy(audited / "honest.safetensors", tmp_path)
    policy = tmp_path / "robaudit.toml"

    def gate(within, *extra):
        text = POLICY.replace("min-robust-accuracy = 0.3", f"within = {within}" if within else "")
        policy.write_text(text)
        code = run(["gate", "--policy", str(policy), *extra])
        return code, capsys.readouterr().out

    assert gate(8) == (0, ANY)
    (file,) = (tmp_path / "kept").glob("*.evidence")
    code, out = gate(2, "--verify")
    assert code == 2
    assert "less precisely than the policy asks" in out
    for within, says in ((2, "(audited)"), (2, "(unchanged)"), (8, "(unchanged)"), (None, "(unchanged)")):
        code, out = gate(within)
        assert code == 0
        assert says in out
        assert read(file).header.plan.within == 0.02
        assert gate(within, "--verify") == (0, ANY)
    assert list((tmp_path / "kept").glob("*.evidence")) == [file]


def waiver(day, model="masked.*"):
    return f'[[exceptions]]\nmodel = "{model}"\nreason = "being retrained"\nexpires = {day}\n'


def test_an_exception_lets_pass_until_it_expires(project, tmp_path, capsys):
    capsys.readouterr()
    assert gate_with(project, tmp_path, waiver(TOMORROW)) == 0
    assert f"Waived until {TOMORROW}: being retrained" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "with")
    assert_clear(
        capsys, gate_with(project, tmp_path, waiver(YESTERDAY)), str(tmp_path / "with" / "robaudit.toml")
    )


def test_an_exception_with_a_minimum_excuses_nothing_else(project, tmp_path):
    lower = waiver(TOMORROW) + "min-robust-accuracy = 0.01\n"
    assert gate_with(project, tmp_path, lower) == 1, "overestimated all the same"


SEVERAL = """
limit = 120
evidence = "kept"
[budget]
apgd-steps = 10
fab-steps = 5
square-queries = 200
targets = 2
[[datasets]]
dataset = "digits"
models = ["honest.*"]
min-robust-accuracy = 0.3
[[datasets]]
dataset = "other.npz"
eps = "0.1"
models = ["masked.*"]
attacks-are-no-key = 1
"""


def ignoring(code, day=TOMORROW, model=""):
    where = f'model = "{model}"\n' if model else ""
    return f'[[ignore]]\ncode = "{code}"\n{where}reason = "known, issue 7"\nexpires = {day}\n'


def test_a_policy_of_several_data_sets(project, tmp_path, capsys):
    import numpy as np
    from sklearn.datasets import load_digits

    _, folder = project
    copy = tmp_path / "several"
    shutil.copytree(folder, copy)
    digits = load_digits()
    np.savez(
        copy / "other.npz", images=(digits.images * 15.9).astype(np.uint8)[-80:], labels=digits.target[-80:]
    )
    policy = copy / "robaudit.toml"
    policy.write_text(SEVERAL)
    assert_clear(
        capsys, run(["gate", "--policy", str(policy)]), f"{policy}: unknown key 'datasets.attacks-are"
    )
    policy.write_text(SEVERAL.replace("attacks-are-no-key = 1\n", ""))
    assert (
        run(["gate", "--policy", str(policy), "--json", str(copy / "j"), "--markdown", str(copy / "m")]) == 1
    )
    reports = json.loads((copy / "j").read_text())["reports"]
    assert [(item["data"]["name"], item["standing"]) for item in reports] == [
        ("digits", "pass"), (str(copy / "other.npz"), "fail")
    ]  # fmt: skip
    capsys.readouterr()
    text = (copy / "m").read_text()
    assert text.index("| ✅ pass |") < text.index("| ❌ fail |") < text.index("## ")
    assert run(["gate", "--policy", str(policy), str(copy / "honest.safetensors")]) == 0
    assert "(unchanged)" in capsys.readouterr().out
    shutil.copy(copy / "honest.safetensors", copy / "neither.safetensors")
    other = str(copy / "neither.safetensors")
    assert_clear(capsys, run(["gate", "--policy", str(policy), other]), f"{other}: fits no models")


def test_findings_are_ignored_by_code_until_a_day(project, tmp_path, capsys):
    _, folder = project
    before = json.loads((folder / "json").read_text())["reports"][1]
    codes = [item["code"] for item in before["verdict"]["causes"]]
    outputs = [f"--{kind}={tmp_path / kind}" for kind in ("sarif", "markdown", "json")]

    def with_ignored(*entries):
        policy = folder / "ignoring.toml"
        policy.write_text(POLICY + "".join(entries))
        return run(["gate", "--policy", str(policy), *outputs, "--output-format", "github"])

    assert with_ignored(ignoring(codes[0])) == 1, "a finding is not a verdict"
    said = capsys.readouterr()
    assert "::error file=" in said.out
    assert f"title=robaudit%3A {codes[0]}::" not in said.out
    results = json.loads((tmp_path / "sarif").read_text())["runs"][0]["results"]
    hidden = [item["ruleId"] for item in results if "suppressions" in item]
    assert set(hidden) == {codes[0]}
    assert f"Ignored until {TOMORROW}: known, issue 7" in (tmp_path / "markdown").read_text()
    assert with_ignored(ignoring("overestimated", model="masked.*")) == 3, (
        "whether the minimum is met is open"
    )
    assert "title=robaudit%3A inconclusive::" in capsys.readouterr().out
    assert with_ignored(ignoring("overestimated", model="masked.*"), ignoring("inconclusive")) == 0
    said = capsys.readouterr()
    assert "(overestimated)" in said.err
    assert "title=robaudit%3A inconclusive::" not in said.out
    assert with_ignored(ignoring("overestimated", model="honest.*")) == 1, "of another checkpoint"
    capsys.readouterr()
    assert_clear(capsys, with_ignored(ignoring(codes[0], YESTERDAY)), str(folder / "ignoring.toml"))
    assert_clear(capsys, with_ignored(ignoring("vanishing-gradient")), str(folder / "ignoring.toml"))
    assert_clear(capsys, with_ignored(ignoring("could-not-audit")), str(folder / "ignoring.toml"))


def test_annotations_hold_no_other_command(capsys):
    from robaudit.cli.streams import annotate, guarded
    from robaudit.reports import Failure, github_annotations

    hostile = "a\r\n::error::b,title=c:d%0A.pt"
    with guarded():
        annotate(github_annotations([Failure(hostile, "bad\n::set-output name=x::y")]) + "::add-mask::x\n")
    (line,) = capsys.readouterr().out.splitlines()
    properties, _, text = line.removeprefix("::error ").partition("::")
    assert [item.partition("=")[0] for item in properties.split(",")] == ["file", "title"]
    assert "%250A" in properties
    assert "\n" not in text


def test_init_writes_a_policy_for_what_it_finds(audited, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_clear(capsys, run(["gate", "--init"]), "no checkpoint here")
    for place in ("models/a [1].safetensors", 'models/b"\n[x].safetensors', ".cache/c.safetensors"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(audited / "honest.safetensors", tmp_path / place)
    (tmp_path / "models" / "bad\n.pt").write_text("no")
    assert run(["gate", "--init"]) == 0
    assert "robaudit.toml: 2 checkpoints, for digits" in capsys.readouterr().out
    (found,) = read_policies(tmp_path / "robaudit.toml")
    assert [path.name for path in found.found()] == ["a [1].safetensors", 'b"\n[x].safetensors']
    assert found.dataset == "digits"
    before = (tmp_path / "robaudit.toml").read_text()
    assert_clear(capsys, run(["gate", "--init"]), "robaudit.toml: is there already")
    assert (tmp_path / "robaudit.toml").read_text() == before
    assert_clear(capsys, run(["gate", "--init", "--policy", "pyproject.toml"]), "pyproject.toml: is your")
    assert_clear(capsys, run(["gate", "--init", "--policy", "b.toml", "none.pt"]), "none.pt: ")
    assert not (tmp_path / "b.toml").exists()


@pytest.mark.parametrize(
    ("path", "classes", "shape", "names"),
    [
        ("a.pt", 10, (3, 32, 32), ("cifar10", "svhn")),
        ("svhn/a.pt", 10, (3, 32, 32), ("svhn", "cifar10")),
        ("Fashion_MNIST.pt", 10, None, ("fashion-mnist", "mnist", "cifar10", "svhn", "digits")),
        ("a.pt", 10, (1, 8, 8), ("digits",)),
        ("a.pt", 100, None, ("cifar100",)),
        ("a.pt", 1000, (3, 224, 224), ()),
    ],
)
def test_the_data_sets_that_a_network_may_be_for(path, classes, shape, names):
    from types import SimpleNamespace

    from robaudit.cli.gate_init import _datasets_of

    assert _datasets_of(SimpleNamespace(path=path, classes=classes, input_shape=shape)) == names


@pytest.mark.parametrize(
    "extra",
    [waiver(TOMORROW, "nothing*"), ignoring("overestimated", model="nothing*")],
    ids=["waiver", "ignored"],
)
def test_what_is_of_no_model_is_told(extra, project, tmp_path, capsys):
    capsys.readouterr()
    assert gate_with(project, tmp_path, extra) == 1
    assert "'nothing*' fits none of its models; correct the pattern or remove it" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "with")
    gate_with(project, tmp_path, extra.replace("nothing*", "masked.*"))
    assert "fits none" not in capsys.readouterr().err
