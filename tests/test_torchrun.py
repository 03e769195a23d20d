"""Which of several processes prints and writes."""

import pytest

from robaudit.audit import progress_bars
from robaudit.torchrun import is_first_process


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"RANK": "1"}, True),
        ({"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "here"}, True),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "here"}, True),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "here"}, False),
    ],
)
def test_all_but_the_first_of_several_are_silent(monkeypatch, told, first):
    """A batch queue gives tasks that know nothing of each other a RANK of their own."""
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    with progress_bars() as told_of_it:
        assert (told_of_it is not None) is first
