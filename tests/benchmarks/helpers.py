"""What the tests of the stages share."""

import json

CPU = ("--minutes", 5, "--device", "cpu", "--dry-run")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def is_small(folder):
    files = list(folder.iterdir())
    assert len(files) <= 8
    assert all(path.stat().st_size <= 15e6 for path in files)
    assert not [path for path in files if path.name.startswith(".")]


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
