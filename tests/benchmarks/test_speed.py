"""Dry runs of the stage `speed`."""

from tests.benchmarks.helpers import CPU, is_small, results


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
