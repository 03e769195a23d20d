"""Calling the command line, and what a clear error looks like."""

from robaudit.cli import run

QUICK = ["--apgd-steps", "10", "--fab-steps", "5", "--square-queries", "200", "--targets", "2"]


def check(*arguments):
    return run(["check", *map(str, arguments)])


def assert_clear(capsys, code, start):
    """Exit 2, one or two lines, beginning with the offending thing, no traceback."""
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) <= 2, captured.err
    assert "Traceback" not in captured.err
    assert "should not happen" not in captured.err
    assert lines[0].startswith(start), captured.err
