"""Dry runs of every stage of benchmarks/gpu.py on the CPU: to the end, stopped and resumed, and refused."""

import json

import pytest
import torch

from robaudit.inputs import load_classifier

CPU = ("--minutes", 5, "--device", "cpu", "--dry-run")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def is_small(folder):
    files = list(folder.iterdir())
    assert len(files) <= 8
    assert all(path.stat().st_size <= 15e6 for path in files)
    assert not [path for path in files if path.name.startswith(".")]


@pytest.fixture(scope="module")
def collapsed(cifar100, tmp_path_factory):
    """What `collapse` left of one uninterrupted call."""
    import gpu

    out = tmp_path_factory.mktemp("stages") / "collapse"
    assert gpu.main([str(item) for item in ("collapse", "--data-dir", cifar100, "--out", out, *CPU)]) == 0
    return out


def stop_after(monkeypatch, owner, name, count):
    """Calls of a method after the first `count` find that the time is over."""
    from gpu_stages.deadline import TimeIsUp

    inner, left = getattr(owner, name), [count]

    def method(*arguments):
        if not left[0]:
            raise TimeIsUp
        left[0] -= 1
        return inner(*arguments)

    monkeypatch.setattr(owner, name, method)


def test_right_compares_with_the_cpu(gpu, tmp_path, capsys):
    assert gpu("right", "--data-dir", tmp_path, "--out", tmp_path / "out", *CPU) == 0
    found = results(tmp_path / "out")
    assert not found["failed"]
    names = ("digits_adversarial", "digits_made")
    for name in names:
        device = found["parts"][f"{name} device"]
        assert set(device["equal"].values()) == {1.0}  # the CPU against itself
        assert device["cpu_witnesses"] == device["device_witnesses"]
        assert device["cpu_failures"] == device["device_failures"] == []
        assert all(one == other for one, other in device["metrics"].values())
    assert {f"{names[0]} {precision}" for precision in ("bf16", "fp16")} <= set(found["parts"])
    assert found["parts"]["digits_adversarial cpu"]["accuracy"]["pgd10"] > 0
    assert found["parts"]["memory"]["done"] is False
    assert len(found["parts"]["landscape"]["seconds"]) == 2
    table = capsys.readouterr().out
    assert "digits_adversarial: equal outcomes, fab-t | 100 % | ≥ 99 % | yes" in table
    assert table.strip() == (tmp_path / "out" / "table.md").read_text().strip()
    is_small(tmp_path / "out")


def test_right_goes_on_where_the_time_was_over(gpu, tmp_path, monkeypatch, capsys):
    from gpu_stages import audits

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, audits.Watching, "begin", 3)
        assert gpu("right", "--data-dir", tmp_path, "--out", out, *CPU) == 0
    assert "a later call with the same --out goes on" in capsys.readouterr().out
    assert results(out)["parts"] == {}
    with monkeypatch.context() as patch:
        begun, inner = [], audits.Watching.begin

        def begin(self, stage, total):
            begun.append(stage)
            inner(self, stage, total)

        patch.setattr(audits.Watching, "begin", begin)
        stop_after(patch, audits.Watching, "end", 5)
        assert gpu("right", "--data-dir", tmp_path, "--out", out, *CPU) == 0
    assert begun[0] not in ("probes", "pgd10")  # they were in the evidence
    assert list(results(out)["parts"]) == ["digits_adversarial cpu"]


def test_right_refuses_models_that_are_not_there_and_another_folder(gpu, tmp_path, collapsed, capsys):
    flags = ("--data-dir", tmp_path, *CPU)
    assert gpu("right", "--out", tmp_path / "out", *flags, "--models", "digits:none.pt:0.1") == 2
    assert capsys.readouterr().err == "error: none.pt: no such file; pass a checkpoint's path\n"
    assert gpu("right", "--out", tmp_path / "out", *flags, "--models", "digits:none.pt") == 2
    assert "is not DATASET:FILE:EPS" in capsys.readouterr().err
    assert gpu("right", "--out", collapsed, *flags) == 2
    assert (
        capsys.readouterr().err == f"error: {collapsed}: holds the stage 'collapse'; choose another --out\n"
    )


def test_right_without_an_accelerator_makes_the_cpus_evidence(gpu, tmp_path, monkeypatch, capsys):
    from gpu_stages import right

    monkeypatch.setattr(right, "Sizes", lambda: right.DRY)
    monkeypatch.setattr(right, "cases_of", lambda *_: _one_case(tmp_path))
    out = tmp_path / "out"
    assert gpu("right", "--data-dir", tmp_path, "--out", out, "--minutes", 5, "--device", "cpu") == 0
    assert "no accelerator here" in capsys.readouterr().out
    assert list(results(out)["parts"]) == ["honest cpu"]


def _one_case(folder):
    from gpu_stages.cases import Case

    from tests.shipped import ADVERSARIAL

    return [Case("honest", "digits", folder, ADVERSARIAL, 0.1)]


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
    """Call after call with one epoch each: the run is that of one call, up to the momentum's 16 bits."""
    from gpu_stages import runs

    out = tmp_path / "out"
    for _ in range(6):
        with monkeypatch.context() as patch:
            stop_after(patch, runs.Following, "begin_epoch", 1)
            assert gpu("collapse", "--data-dir", cifar100, "--out", out, *CPU) == 0
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


def test_table3_audits_the_runs_and_goes_on(collapsed, cifar100, tmp_path, gpu, monkeypatch, capsys):
    from gpu_stages import audits

    out = tmp_path / "table3"
    flags = ("table3", "--data-dir", cifar100, "--out", out, "--runs", collapsed, *CPU)
    with monkeypatch.context() as patch:
        stop_after(patch, audits.Watching, "begin", 9)
        assert gpu(*flags) == 0
    assert "a later call" in capsys.readouterr().out
    assert 0 < len(results(out)["parts"]) < 6
    assert gpu(*flags) == 0
    table = capsys.readouterr().out
    found = results(out)
    assert not found["failed"]
    assert {key.split()[1] for key in found["parts"]} == {"0", "1"}
    assert "12 examples" in table
    for text in (
        "TRADES, masked epoch 2",
        "--heal=paper, ",
        "| paper, Table 1, unstable | 55.9 | 28.7 | 10.4 ",
    ):
        assert text in table
    is_small(out)


def test_table3_wants_the_runs(tmp_path, cifar100, gpu, capsys):
    assert gpu("table3", "--data-dir", cifar100, "--out", tmp_path / "out", *CPU) == 2
    assert "holds no results of `collapse`" in capsys.readouterr().err
    (tmp_path / "collapse").mkdir()
    (tmp_path / "collapse" / "results.json").write_text('{"parts": {"unstable": {"rows": [1, 2]}}}')
    assert gpu("table3", "--data-dir", cifar100, "--out", tmp_path / "out", *CPU) == 2
    assert "no epoch is masked yet (2 so far)" in capsys.readouterr().err


def test_speed_measures_ours_and_the_others(cifar100, tmp_path, gpu, capsys):
    out = tmp_path / "out"
    assert gpu("speed", "--data-dir", cifar100, "--out", out, *CPU) == 0
    found = results(out)
    assert not found["failed"]
    assert {
        "peak fp32",
        "model",
        "ours",
        "reference",
        "ours on more",
        "step eager",
        "step auto",
        "step published loop",
    } <= set(found["parts"])
    assert found["parts"]["ours"]["attacked"] == found["parts"]["reference"]["attacked"] == 4
    assert "faster than pyautoattack, the same examples | " in capsys.readouterr().out
    is_small(out)
    before = found["parts"]
    assert gpu("speed", "--data-dir", cifar100, "--out", out, *CPU) == 0  # nothing is left to do
    assert results(out)["parts"] == before


def test_flags_that_cannot_be_are_one_line(tmp_path, gpu, capsys):
    flags = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    assert gpu("right", *flags, "--minutes", 0) == 2
    assert capsys.readouterr().err == "error: minutes 0 must be above 0, as 3\n"
    if not torch.cuda.is_available():
        assert gpu("right", *flags, "--minutes", 1, "--device", "cuda") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: device 'cuda' cannot be used")
        assert len(error.splitlines()) == 1
