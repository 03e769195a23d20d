"""Dry runs of the stage `collapse`: to the end, epoch by epoch on two devices, and refused."""

import json
from contextlib import nullcontext

import pytest

from robaudit.inputs import load_classifier
from tests.accelerator.pretend import pretending
from tests.benchmarks.helpers import CPU, is_small, results, stop_after


def test_collapse_finds_and_heals(collapsed, tmp_path, gpu, capsys):
    found = results(collapsed)
    assert found["parts"]["unstable"]["masked_epoch"] == 2
    assert found["parts"]["unstable"]["healthy_epoch"] == 1
    assert {"w_grad_norm", "kl_norm", "grad_cosine_similarity"} <= set(
        found["parts"]["unstable"]["batches"][0]
    )
    for arm in ("paper", "auto"):
        assert found["parts"][arm]["ended"]
        assert len(found["parts"][arm]["rows"]) == 2
    assert not list(collapsed.glob("*.state"))
    is_small(collapsed)
    assert gpu("join", collapsed) == 0
    for name in ("healthy", "masked", "paper", "auto"):
        path = collapsed / f"{name}.safetensors"
        assert load_classifier(str(path), force=True).info.classes == 100
        path.unlink()


def test_collapse_goes_on_at_every_epoch(collapsed, cifar100, tmp_path, gpu, monkeypatch):
    """Call after call with one epoch each, on two devices: the run of one call, up to the momentum's 16 bits."""
    from gpu_stages import runs

    out = tmp_path / "out"
    for number in range(6):
        elsewhere = number == 2
        with monkeypatch.context() as patch, pretending() if elsewhere else nullcontext():
            stop_after(patch, runs.Following, "begin_epoch", 1)
            flags = ("--data-dir", cifar100, "--out", out, "--minutes", 5, "--dry-run")
            assert gpu("collapse", *flags, "--device", "auto" if elsewhere else "cpu") == 0
        is_small(out)
    once, often = results(collapsed)["parts"], results(out)["parts"]
    assert all(often[name]["ended"] for name in ("unstable", "paper", "auto"))
    assert (out / "masked.weights").exists()
    assert not list(out.glob("*.state"))
    for name, part in once.items():
        for one, other in zip(part["rows"], often[name]["rows"], strict=True):
            assert other["epoch"] == one["epoch"]
            assert other["loss"] == pytest.approx(one["loss"], rel=5e-3)
            assert other["fosc"] == pytest.approx(one["fosc"], rel=0.2)


def test_collapse_says_when_no_epoch_fits(cifar100, tmp_path, gpu, monkeypatch, capsys):
    from gpu_stages import runs

    stop_after(monkeypatch, runs.Following, "step", 0)
    assert gpu("collapse", "--data-dir", cifar100, "--out", tmp_path / "out", *CPU) == 0
    assert "no epoch was finished" in capsys.readouterr().out
    assert results(tmp_path / "out")["parts"]["unstable"]["rows"] == []


def test_collapse_runs_other_settings_when_asked(collapsed, cifar100, tmp_path, gpu, capsys):
    flags = ("--beta", 0.5, "--batch-metrics", 2)
    assert gpu("collapse", "--data-dir", cifar100, "--out", tmp_path, *flags, *CPU) == 0
    assert results(tmp_path)["settings"]["beta"] == 0.5
    assert gpu("collapse", "--data-dir", cifar100, "--out", collapsed, *flags, *CPU) == 2
    assert "(beta 1.0 there and 0.5 now)" in capsys.readouterr().err


def test_the_healers_go_on_at_the_rate_of_the_masked_epoch(cifar100, tmp_path, gpu):
    """In the two epochs of a schedule of their own it would fall."""
    flags = ("--eps", "16/255", "--schedule", "multistep")
    assert gpu("collapse", "--data-dir", cifar100, "--out", tmp_path, *flags, *CPU) == 0
    found = results(tmp_path)
    assert found["settings"]["eps"] == pytest.approx(16 / 255)
    first, second = (row["lr"] for row in found["parts"]["unstable"]["rows"])
    assert first == second == 0.02
    for arm in ("paper", "auto"):
        assert [row["lr"] for row in found["parts"][arm]["rows"]] == [second, second]


def test_collapse_refuses_other_data(collapsed, tmp_path, gpu, capsys):
    from tests.benchmarks.conftest import write_split

    write_split(tmp_path / "cifar-100-python", "train", 300, 5)
    assert gpu("collapse", "--data-dir", tmp_path, "--out", collapsed, *CPU) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {collapsed}: holds other results (data ")
    assert len(error.splitlines()) == 1


def test_collapse_without_its_healthy_weights_says_so(collapsed, cifar100, tmp_path, gpu, capsys):
    out = tmp_path / "out"
    out.mkdir()
    found = results(collapsed)
    found["parts"] = {"unstable": found["parts"]["unstable"]}
    (out / "results.json").write_text(json.dumps(found))
    assert gpu("collapse", "--data-dir", cifar100, "--out", out, *CPU) == 2
    assert f"error: {out / 'healthy.weights'}: is missing" in capsys.readouterr().err


def test_weights_give_way_to_those_that_are_needed(tmp_path, monkeypatch):
    """Of the unstable run's earlier best, and once the last healer runs of the healthy ones, there may be no room."""
    from gpu_stages import collapse, results

    monkeypatch.setattr(results, "MOST_BYTES", 5000)
    monkeypatch.setattr(results, "_GROWTH", 500)
    found = results.Results(tmp_path, "collapse", {}, "cpu")
    stage = collapse.Stage(None, None, None, found, None)
    for name in ("unstable", "healthy", "masked"):
        assert found.keep(f"{name}.weights", bytes(1200))
    stage._make_room("paper.weights", bytes(1200), spare=("unstable.weights",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "healthy.weights",
        "masked.weights",
        "paper.weights",
    ]
    stage._make_room("auto.weights", bytes(1200), spare=("unstable.weights", "healthy.weights"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "auto.weights",
        "masked.weights",
        "paper.weights",
    ]
    assert set(found.left_out) == {"unstable.weights", "healthy.weights"}
