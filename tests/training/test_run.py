"""Whole runs: what is on disk, going on after a kill, refusals, and that `check` takes what was trained."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from robaudit.audit import audit
from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.ranks import joined
from robaudit.reports.run_best import read_best
from robaudit.stats import at_chance
from robaudit.training import Inner, NotFiniteError, Silent, TrainSettings, train
from robaudit.training.checkpoints import Folder
from robaudit.training.data import hold_out
from robaudit.training.run import Run
from tests.models import cnn

TINY = TrainSettings(
    "digits", Inner(0.1, 0.05, 2), epochs=3, batch_size=50, lr=0.05, validation=40, limit=200,
    arch="sequential:conv8k3s2p1 bn relu flatten fcK", augment="crop-flip", save_every=0, batch_metrics=2,
    confirm=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def images():
    return load_images("digits", split="train", limit=240, seed=0)


@pytest.fixture(scope="module")
def done(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder, train(TINY, images, folder)


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bits(path):
    """Every tensor's bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


def test_the_log_holds_an_object_an_epoch_with_the_contracts_fields(done):
    folder, rows = done
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert lines == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    wanted = {
        "epoch",
        "clean",
        "pgd10",
        "fosc",
        "fosc_normalised",
        "sgcs",
        "train_clean",
        "train_adv",
        "lr",
        "healing",
    }
    assert all(wanted <= set(row) for row in rows)
    assert all(row["pgd10"] <= row["clean"] for row in rows)
    assert rows[1]["train_gap"] == rows[1]["train_clean"] - rows[1]["train_adv"]
    assert load_classifier(str(folder / "best.safetensors")).info.classes == 10
    assert all(row["robust_low"] <= row["robust"] <= row["robust_high"] for row in rows)
    assert all(row["black_box_gap"] <= row["gap"] <= row["pgd10"] for row in rows)


@pytest.mark.parametrize("select", ["robust", "pgd10"])
def test_the_best_epoch_is_that_of_the_highest_number_selected_by(images, tmp_path, select):
    rows = train(replace(TINY, select=select), images, tmp_path)
    _, held = hold_out(images, TINY.validation, TINY.seed)
    labels = held.labels.bincount(minlength=10).tolist()
    guessing = [row["epoch"] for row in rows if at_chance(row["clean"], labels)]
    assert 0 < len(guessing) < len(rows)
    best = max(rows, key=lambda row: row[select] - (select == "robust" and row["epoch"] in guessing))
    assert rows[-1]["best"] == best["epoch"]
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["epoch"] == str(best["epoch"])
    assert (metadata["robust"], metadata["pgd10"]) == (str(best["robust"]), str(best["pgd10"]))
    assert metadata["robust_examples"] == str(TINY.validation)


def test_the_epochs_numbers_are_those_of_check(done, images, tmp_path):
    """The same validation examples through `audit`, which measures with an engine and re-checks of its own."""
    folder, rows = done
    _, held = hold_out(images, TINY.validation, TINY.seed)
    model = load_classifier(str(folder / "last.safetensors"), images=held, force=True)
    plan = AuditPlan(ThreatModel("Linf", 0.1), attacks=("pgd10",), examples="all")
    found = audit(model, held, plan, path=tmp_path / "evidence", force=True)
    row = rows[-1]
    for name in ("fosc", "fosc_normalised", "sgcs"):
        assert float(getattr(found, name).mean()) == pytest.approx(row[name], rel=1e-3, abs=1e-4), name
    robust = (found.attacks["pgd10"].outcome == 0).mean()
    assert robust == pytest.approx(row["pgd10"], abs=1e-9)


def test_batch_metrics_are_kept_and_their_lengths_fit(done):
    folder, rows = done
    batches = [json.loads(line) for line in (folder / "batches.jsonl").read_text().splitlines()]
    assert [item["step"] for item in batches] == list(range(0, 12, 2))
    for item in batches:
        total, first, second = (item[name] for name in ("w_grad_norm", "ce_norm", "kl_norm"))
        assert abs(first - second) <= total * (1 + 1e-5) <= (first + second) * (1 + 2e-5)
        assert -1 <= item["grad_cosine_similarity"] <= 1 + 1e-6
    assert rows[0]["w_grad_norm"] == pytest.approx(sum(item["w_grad_norm"] for item in batches[:2]) / 2)


_CODE = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from robaudit.inputs import load_images
from robaudit.training import train
from tests.training.test_run import TINY
train(TINY, load_images("digits", split="train", limit=240, seed=0), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.heavy)])
def test_killed_at_any_time_a_run_ends_at_the_same_bits(done, images, tmp_path, kills):
    """Each kill after some more of the run is on disk; then to the end in this process."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    for _ in range(kills):
        before = (tmp_path / "resume.pt").stat().st_mtime_ns if (tmp_path / "resume.pt").exists() else 0
        child = subprocess.Popen([sys.executable, "-c", _CODE, str(tmp_path)], env=env)
        while child.poll() is None and (
            not (tmp_path / "resume.pt").exists() or (tmp_path / "resume.pt").stat().st_mtime_ns == before
        ):
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
    rows = train(TINY, images, tmp_path)
    folder, expected = done
    timeless = {"seconds": 0, "measuring": 0}
    assert [row | timeless for row in rows] == [row | timeless for row in expected]
    assert bits(tmp_path / "last.safetensors") == bits(folder / "last.safetensors")
    assert bits(tmp_path / "best.safetensors") == bits(folder / "best.safetensors")
    assert not list(tmp_path.glob(".*part"))


class AbortError(Exception):
    pass


class StopAfter(Silent):
    """Interrupts a run after this many steps."""

    def __init__(self, steps):
        self.left = steps

    def step(self, result):
        self.left -= 1
        if not self.left:
            raise AbortError


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_an_interrupted_run_goes_on_within_an_epoch(done, images, tmp_path, steps):
    with pytest.raises(AbortError):
        train(TINY, images, tmp_path, progress=StopAfter(steps))
    train(TINY, images, tmp_path)
    assert bits(tmp_path / "last.safetensors") == bits(done[0] / "last.safetensors")


def test_another_run_in_the_folder_is_refused_and_left_alone(done, images):
    folder, _ = done
    before = sha(folder / "resume.pt")
    with pytest.raises(RobauditError, match=r"lr 0\.05 there and 0\.1 now"):
        train(replace(TINY, lr=0.1), images, folder)
    other = images.subset(None, 5)
    with pytest.raises(RobauditError, match="other data"):
        train(TINY, replace(other, sha256="0" * 64), folder)
    assert sha(folder / "resume.pt") == before


def test_a_finished_run_is_not_trained_on(done, images):
    folder, rows = done
    before = sha(folder / "last.safetensors")
    assert train(TINY, images, folder) == rows
    assert sha(folder / "last.safetensors") == before


def test_a_run_of_an_older_version_is_refused_with_the_reason(done, images, tmp_path):
    state = torch.load(done[0] / "resume.pt", weights_only=True)
    del state["settings"]["select"], state["settings"]["threads"]
    torch.save(state | {"format": 1}, tmp_path / "resume.pt")
    with pytest.raises(RobauditError, match=r"holds a run of an older version .*choose another --out"):
        train(TINY, images, tmp_path)


def test_a_run_goes_on_that_had_less_to_say(done, images, tmp_path):
    """Earlier versions of this format had other names for what was said, and said nothing of a rugged surface."""
    state = torch.load(done[0] / "resume.pt", weights_only=True)
    said = state["remarks"]
    state["remarks"] = {"chance": said["chance"], "weak": 0, "said_chance": False, "said_weak": False}
    state["rows"] = [
        {name: value for name, value in row.items() if name != "rugged"} for row in state["rows"]
    ]
    torch.save(state, tmp_path / "resume.pt")
    assert [row["epoch"] for row in train(TINY, images, tmp_path)] == [1, 2, 3]
    state["remarks"]["surprise"] = 1
    torch.save(state, tmp_path / "resume.pt")
    with pytest.raises(RobauditError, match="'remarks' has another form"):
        train(TINY, images, tmp_path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("step",), 10**9),
        (("slower",), -1.0),
        (("slower",), math.nan),
        (("treatment",), "evil\x1b[31m"),
        (("seconds",), -1e300),
        (("batches",), [5]),
        (("batches",), [{"step": 1}]),
        (("rows", 0, "robust"), 1e300),
        (("rows", 0, "tried"), {"a": "b"}),
        (("remarks", "chance"), [5, 6, 7]),
        (("judge", "gaps"), [[1]]),
        (("judge", "watch", "healthy"), [["a", "b"]]),
        (("selection", "gaps"), [[1]]),
        (("selection", "standing", "robust"), torch.zeros(3, dtype=torch.bool)),
        (("selection", "standing", "total"), 10**18),
        (("selection", "rivals"), [{"robust": torch.zeros(5)}]),
    ],
)
def test_a_state_that_no_run_has_is_refused(done, images, tmp_path, place, value):
    state = torch.load(done[0] / "resume.pt", weights_only=True)
    part = state
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    torch.save(state, tmp_path / "resume.pt")
    with pytest.raises(RobauditError, match=r"cannot be resumed .*remove it to begin anew") as caught:
        train(TINY, images, tmp_path)
    assert "\x1b" not in str(caught.value)


def test_examples_of_one_class_are_refused_before_anything_is_written(images, tmp_path):
    one = replace(images, labels=torch.full_like(images.labels, 3))
    with pytest.raises(RobauditError, match="all 200 examples to train on are of class 3"):
        train(TINY, one, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_file_may_be_read_by_whom_the_umask_lets(done):
    umask = os.umask(0)
    os.umask(umask)
    for path in done[0].iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path.name


def test_the_settings_are_kept_for_people_and_programs(done):
    kept = json.loads((done[0] / "settings.json").read_text())
    assert TrainSettings.from_dict(kept["settings"]) == TINY
    assert len(kept["data"]["sha256"]) == 64
    assert set(kept["versions"]) == {"robaudit", "torch", "python"}


def test_a_damaged_state_is_refused(done, images, tmp_path):
    (tmp_path / "resume.pt").write_bytes((done[0] / "resume.pt").read_bytes()[:1000])
    with pytest.raises(RobauditError, match="cannot be resumed"):
        train(TINY, images, tmp_path)


def test_a_run_that_was_killed_before_its_first_state_begins_anew(done, images, tmp_path):
    """Its weights lie there, and its settings say that they are its own; without these they may be anybody's."""
    for name in ("best.safetensors", "last.safetensors", "settings.json"):
        shutil.copy(done[0] / name, tmp_path)
    assert train(replace(TINY, threads=1), images, tmp_path)[-1]["epoch"] == 3
    (tmp_path / "resume.pt").unlink()
    with pytest.raises(RobauditError, match=r"holds log.jsonl but no resume.pt; choose another --out"):
        train(replace(TINY, seed=1), images, tmp_path)
    (tmp_path / "settings.json").write_text('{"settings": []}')
    with pytest.raises(RobauditError, match=r"holds log.jsonl but no resume.pt"):
        train(TINY, images, tmp_path)


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(done, images, tmp_path, monkeypatch):
    save = torch.save

    def full(*args, **kwargs):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 192 vs 86")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RobauditError, match=r"resume.pt: cannot be written .*; free space and run again"):
        train(TINY, images, tmp_path)
    monkeypatch.setattr(torch, "save", save)
    train(TINY, images, tmp_path)
    assert bits(tmp_path / "best.safetensors") == bits(done[0] / "best.safetensors")


def test_two_runs_are_not_in_one_folder_at_once(images, tmp_path):
    folder = Folder(tmp_path, TINY, images.sha256)
    with folder.held(), pytest.raises(RobauditError, match="another run is under way in it"):
        train(TINY, images, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_same_run_gives_the_same_bytes(done, images, tmp_path):
    train(TINY, images, tmp_path)
    assert sha(tmp_path / "best.safetensors") == sha(done[0] / "best.safetensors")


def test_metadata_tell_what_was_last_asked_for(images, tmp_path):
    def metadata():
        with safe_open(tmp_path / "best.safetensors", "pt") as file:
            return file.metadata()

    for confirm in (0, 20, 0):
        train(replace(TINY, confirm=confirm), images, tmp_path)
        assert ("luck" in metadata()) == bool(confirm)
        known = read_best(tmp_path)
        assert metadata()["robust"] == str(known["robust"])
        assert metadata()["robust_examples"] == str(known["robust_examples"])
        assert ("chosen_examples" in known) == bool(confirm)


def test_a_state_whose_best_epoch_cannot_be_is_refused(done, images, tmp_path):
    state = torch.load(done[0] / "resume.pt", weights_only=True)
    for epoch in (77, -1, True, "2"):
        torch.save(state | {"selection": state["selection"] | {"epoch": epoch}}, tmp_path / "resume.pt")
        with pytest.raises(RobauditError, match="cannot be resumed"):
            train(TINY, images, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_weights(images, tmp_path):
    class Poison(Silent):
        """After the first epoch one weight is set to infinity."""

        def begin_epoch(self, epoch, epochs, steps, done):
            if epoch == 2:
                next(self.run.network.parameters()).data.view(-1)[0] = float("inf")

    poison = Poison()
    with joined() as ranks:
        poison.run = Run(TINY, images, tmp_path, ranks, None, poison)
        with pytest.raises(NotFiniteError, match=r"epoch 2, step 1: .*last.safetensors is of epoch 1"):
            poison.run.run()
    assert load_classifier(str(tmp_path / "last.safetensors")).info.classes == 10
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "last.safetensors").values())
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_weights_do_not_depend_on_the_process_random_state(images, tmp_path):
    settings = replace(TINY, epochs=1)
    torch.manual_seed(1)
    train(settings, images, tmp_path / "a")
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    train(settings, images, tmp_path / "b")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert bits(tmp_path / "a" / "last.safetensors") == bits(tmp_path / "b" / "last.safetensors")


def test_a_run_may_start_from_a_checkpoint(done, images, tmp_path):
    start = load_classifier(str(done[0] / "last.safetensors"), images=images, force=True)
    settings = replace(
        TINY, epochs=1, lr=1e-12, weight_decay=0.0, start_from=start.info.sha256, batch_metrics=0
    )
    train(settings, images, tmp_path, start=start)
    after = load_classifier(str(tmp_path / "last.safetensors"), images=images, force=True)
    for (name, old), new in zip(start.network.named_parameters(), after.network.parameters(), strict=True):
        assert torch.allclose(old, new, atol=1e-6), name


@pytest.mark.parametrize("method", ["trades", "trades-ce", "pgd-at", "mart"])
def test_every_method_learns(method, images, tmp_path):
    settings = replace(
        TINY, method=method, epochs=6, lr=0.1, augment="none", batch_metrics=0, save_every=300,
        awp=0.005 if method == "trades" else 0.0,
    )  # fmt: skip
    rows = train(settings, images, tmp_path)
    assert rows[-1]["train_clean"] > 0.5
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_awp_moves_weights_by_its_radius_and_back():
    from robaudit.training.awp import moved, perturbation

    network = cnn().requires_grad_(True)
    gradients = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    by = perturbation(gradients, network, 0.005)
    assert set(by) == {"0.weight", "3.weight", "7.weight"}
    with moved(network, by):
        for name, p in network.named_parameters():
            expected = 0.005 * float(before[name].norm()) if name in by else 0.0
            assert float((p.detach() - before[name]).norm()) == pytest.approx(expected, rel=1e-3, abs=1e-9)
    for name, p in network.named_parameters():
        assert torch.equal(p.detach(), before[name])


def test_an_execution_that_the_device_lacks_is_refused_before_anything_is_written(images, tmp_path):
    with pytest.raises(RobauditError, match="execution 'graphs': cpu cannot record graphs"):
        train(replace(TINY, execution="graphs"), images, tmp_path / "run")
    assert not (tmp_path / "run").exists()
