"""Killed, out of disk, or failing on one batch: what was finished is kept, and the next run ends the same."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robaudit.audit import audit, verify
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile, Outcome
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AUTO_DRAWS, AuditPlan, Budget, ThreatModel
from robaudit.verdict import judge
from tests.evidence.edits import editing, leave_half_written
from tests.shipped import ADVERSARIAL

BUDGET = Budget(10, 10, 10, 3, 60, 1)
PLAN = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=BUDGET)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=60, seed=1)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(str(ADVERSARIAL))


def outcomes(evidence):
    return {
        name: (record.outcome.tolist(), record.steps.tolist()) for name, record in evidence.attacks.items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, classifier, images):
    return outcomes(audit(classifier, images, PLAN, path=tmp_path_factory.mktemp("whole") / "a"))


_VICTIM = """
import sys
from pathlib import Path
from robaudit.audit import audit
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
plan = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=Budget(10, 10, 10, 3, 60, 1))
audit(load_classifier(sys.argv[1]), load_images("digits", limit=60, seed=1), plan, path=Path(sys.argv[2]))
"""


def kill_until_done(path, times, draw):
    """Start the audit over and over and kill it a moment after it has written something; how often it was killed."""
    kills = 0
    for _ in range(times):
        before = path.stat().st_size if path.exists() else 0
        child = subprocess.Popen([sys.executable, "-c", _VICTIM, str(ADVERSARIAL), str(path)])
        deadline = time.monotonic() + 300
        while child.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.stat().st_size > before:
                time.sleep(float(draw.uniform(0, 0.3)))
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        child.wait()
    return kills


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path, classifier, images, undisturbed):
    path = tmp_path / "killed"
    assert kill_until_done(path, 4, np.random.default_rng(0)) >= 1
    assert outcomes(audit(classifier, images, PLAN, path=path)) == undisturbed
    assert not verify(path, classifier).failures


@pytest.mark.parametrize("eot", [1, AUTO_DRAWS])
def test_killed_in_the_middle_of_a_write_it_goes_on(tmp_path, classifier, images, undisturbed, eot):
    """The number of draws that is looked up beforehand is read from the half-written file, too."""
    path, plan = tmp_path / "half", replace(PLAN, eot=eot)
    audit(classifier, images, plan, path=path)
    with editing(path) as db:
        db.execute("UPDATE header SET value = 'false' WHERE key = 'finished'")
        db.execute("DELETE FROM outcomes WHERE attack = 'fab-t'")
    leave_half_written(path)
    assert outcomes(audit(classifier, images, plan, path=path)) == undisturbed
    assert verify(path, classifier).failures == ()


@pytest.mark.heavy
def test_killed_at_twenty_moments_it_ends_the_same(tmp_path, classifier, images, undisturbed):
    draw, kills, round_ = np.random.default_rng(1), 0, 0
    while kills < 20:
        path = tmp_path / str(round_)
        kills += kill_until_done(path, 4, draw)
        assert outcomes(audit(classifier, images, PLAN, path=path)) == undisturbed
        assert not verify(path, classifier).failures
        round_ += 1


_FULL_DISK = """
import resource, sys
from robaudit.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["robaudit", *sys.argv[2:]]
main()
"""


def test_a_full_disk_is_one_clear_line_and_keeps_what_was_finished(tmp_path):
    path = tmp_path / "a.evidence"
    flags = "--dataset digits --limit 60 --examples all --eps 0.1 --apgd-steps 10 --fab-steps 10 --targets 3"
    command = ["check", str(ADVERSARIAL), *flags.split(), "--square-queries", "60", "--evidence", str(path)]
    command += ["--json", str(tmp_path / "a.json")]
    run = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, "36000", *command], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    said = [line for line in run.stderr.splitlines() if line.startswith(str(path))]
    assert len(said) == 1 and said[0].startswith(f"{path}: evidence could not be written")
    assert "what was finished is kept" in " ".join(run.stderr.split())
    with EvidenceFile.open(path) as file:
        kept = {name: len(file.finished_ids(name)) for name in PLAN.attacks}
    assert 0 < sum(kept.values()) < 5 * 60
    again = subprocess.run(
        [sys.executable, "-m", "robaudit", *command], capture_output=True, text=True, check=False
    )
    assert again.returncode in {0, 3}, again.stderr
    with EvidenceFile.open(path) as file:
        assert file.header().finished


def test_an_error_on_one_batch_keeps_the_others(tmp_path, classifier, images, undisturbed):
    """The model itself fails once, deep in an attack; the same command resumes it."""
    path = tmp_path / "a"

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.info = classifier, classifier.info

        def forward(self, x):
            if path.exists() and bool(x.sum() > 0):  # a comparison cannot be traced, so every call comes here
                with EvidenceFile.open(path) as file:
                    if file.finished_ids("apgd-ce"):
                        raise ValueError("device hiccup")
            return self.inner(x)

    with pytest.raises(ValueError, match="device hiccup"):
        audit(Failing(), images, PLAN, path=path)
    with EvidenceFile.open(path) as file:
        assert file.finished_ids("pgd10"), "nothing was kept"
        assert not file.header().finished
    assert outcomes(audit(classifier, images, PLAN, path=path)) == undisturbed


def test_answers_that_are_not_finite_on_some_inputs_count_for_neither_side(tmp_path, classifier, images):
    """NaN where the top left pixel is bright: those examples are neither robust nor broken, and are said to be."""

    class Partial(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.info = classifier, classifier.info

        def forward(self, x):
            return self.inner(x) + torch.where(x[:, :1, 0, 0] > 0.06, torch.nan, 0.0)

    evidence = audit(Partial(), images, PLAN, path=tmp_path / "a")
    outcome = evidence.attacks["square"].outcome[evidence.correct]
    assert (outcome == Outcome.NONFINITE).any()
    assert not set(outcome.tolist()) - {Outcome.ROBUST, Outcome.BROKEN, Outcome.NONFINITE}
    assert judge(evidence, None).outcome != "not-overestimated"
    assert not verify(tmp_path / "a", Partial()).failures


def test_a_model_whose_answers_depend_on_the_batch_is_refused_and_when_forced_not_decided(
    tmp_path, classifier, images
):
    class Batchwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.info = classifier, classifier.info

        def forward(self, x):
            z = self.inner(x)
            return z - z.mean(0, keepdim=True)

    with pytest.raises(RobauditError, match="depends on the others"):
        audit(Batchwise(), images, PLAN, path=tmp_path / "a")
    evidence = audit(Batchwise(), images, PLAN, path=tmp_path / "a", force=True)
    assert judge(evidence, None).outcome == "inconclusive"
    assert "batch-dependent-output" in {item["code"] for item in evidence.header.findings}
