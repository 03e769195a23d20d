"""Dry runs of the stage `table3`."""

from tests.accelerator.pretend import pretending
from tests.benchmarks.helpers import CPU, is_small, results, stop_after


def test_table3_audits_the_runs_and_goes_on(collapsed, cifar100, tmp_path, gpu, monkeypatch, capsys):
    from gpu_stages import audits

    out = tmp_path / "table3"
    flags = ("table3", "--data-dir", cifar100, "--out", out, "--runs", collapsed, *CPU)
    with monkeypatch.context() as patch:
        stop_after(patch, audits.Watching, "begin", 9)
        with pretending():
            assert gpu(*flags[:-3], "--dry-run") == 0
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
