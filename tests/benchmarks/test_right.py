"""Dry runs of the stage `right`, on the CPU and on the pretend accelerator."""

from types import SimpleNamespace

import pytest
import torch

from tests.accelerator.pretend import pretending
from tests.benchmarks.helpers import CPU, is_small, results, stop_after


def test_right_compares_an_accelerator_with_the_cpu(gpu, tmp_path, capsys):
    with pretending():
        code = gpu("right", "--data-dir", tmp_path, "--out", tmp_path / "out", "--minutes", 5, "--dry-run")
    assert code == 0
    found = results(tmp_path / "out")
    assert not found["failed"]
    names = ("digits_adversarial", "digits_made")
    for name in names:
        device = found["parts"][f"{name} device"]
        assert device["on"].startswith("pretend")
        assert set(device["equal"].values()) == {1.0}
        assert device["cpu_witnesses"] == device["device_witnesses"]
        assert device["cpu_failures"] == device["device_failures"] == []
        assert all(other == pytest.approx(one, rel=1e-3) for one, other in device["metrics"].values())
    assert {f"{names[0]} {precision}" for precision in ("bf16", "fp16")} <= set(found["parts"])
    assert found["parts"]["digits_adversarial cpu"]["accuracy"]["pgd10"] > 0
    assert found["parts"]["memory"]["done"] is False
    assert len(found["parts"]["landscape"]["seconds"]) == 2
    table = capsys.readouterr().out
    assert "digits_adversarial: equal outcomes, fab-t | 100 % | ≥ 99 % | yes" in table
    assert table.strip() == (tmp_path / "out" / "table.md").read_text().strip()
    is_small(tmp_path / "out")


def test_right_is_resumed_where_the_time_was_over(gpu, tmp_path, monkeypatch, capsys):
    from gpu_stages import audits

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, audits.Watching, "begin", 3)
        assert gpu("right", "--data-dir", tmp_path, "--out", out, *CPU) == 0
    assert "a later call with the same --out resumes" in capsys.readouterr().out
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


def test_memory_that_runs_out_is_limited_and_counted(monkeypatch):
    """With CUDA's calls replaced: few slots set the limit, and it is gone afterwards."""
    from gpu_stages import limits

    calls, counts = [], iter([2, 5])
    for name, answer in {
        "empty_cache": None,
        "current_device": 0,
        "reset_peak_memory_stats": None,
        "max_memory_reserved": 1000,
        "get_device_properties": SimpleNamespace(total_memory=10_000),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _: {"num_ooms": next(counts)})
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: calls.append(given))
    monkeypatch.setattr(limits, "can_be_limited", lambda _: True)
    monkeypatch.setattr(limits, "_EXAMPLES", 4)
    monkeypatch.setattr(limits, "_SLOTS", 2)
    monkeypatch.setattr(limits, "_ARCH", "sequential:conv4k3s2p1 relu flatten fcK")
    found = limits.memory(torch.device("cpu"), 0)
    assert found == {"done": True, "allowed_mb": 0.0025, "ran_out": 3, "equal": 1.0, "examples": 4}
    assert calls == [(0.25, 0), (1.0, 0)]
    assert right_rows({"memory": found})[0][3] == "yes"


def right_rows(parts):
    from gpu_stages.right_table import right_table

    lines = right_table([], parts, 1).splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| memory")]


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


def test_flags_that_cannot_be_are_one_line(tmp_path, gpu, capsys):
    flags = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    assert gpu("right", *flags, "--minutes", 0) == 2
    assert capsys.readouterr().err == "error: minutes 0 must be above 0, for example 3\n"
    if not torch.cuda.is_available():
        assert gpu("right", *flags, "--minutes", 1, "--device", "cuda") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: device 'cuda' cannot be used")
        assert len(error.splitlines()) == 1
