"""TorchScript, `.pt2` and ONNX files that were made to do harm: none does, each is reported in a line or two."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.hostile import exported_files, onnx_files, torchscript_files
from tests.hostile.harness import Case, Hostile, part

pytest.importorskip("onnx")

MUTATIONS = 150
#: Parts that the slow ones are tried in: a whole check takes seconds.
SHARES = 6
#: A whole check, short: what a program does shows when it meets images.
CHECK = ("check", "{}", "--dataset", "digits", "--limit", "8", "--attacks", "pgd10", "--force", "--json", "-")


def tried(hostile: Hostile, cases: Iterable[Case], *command: str) -> None:
    """Every case, each in evidence of its own."""
    evidence = str(hostile.folder / "case.evidence")
    for case in cases:
        (hostile.folder / "case.evidence").unlink(missing_ok=True)
        hostile.try_all([case], *command, "--evidence", evidence)


def test_what_the_files_are_made_from_is_fine(hostile: Hostile) -> None:
    from onnx import helper

    relu = exported_files.with_node("torch.ops.aten.relu.default", {"as_tensor": {"name": "IMAGE"}})
    same = onnx_files.with_nodes([helper.make_node("Identity", ["x"], ["y0"])])
    script = torchscript_files.with_lines("y = torch.ones([4])\nx = torch.add(x, torch.sum(y))")
    for ending, data in (("pt2", relu), ("onnx", same), ("pt", script)):
        found = hostile.run("inspect", hostile.write(f"fine.{ending}", data))
        assert found.code == 0 and not found.err, found


def test_some_of_the_tricks(hostile: Hostile) -> None:
    tried(hostile, part(list(torchscript_files.torchscript_tricks(str(hostile.canary))), 2), *CHECK)
    hostile.try_all(part(list(exported_files.exported_tricks()), 4))
    hostile.try_all(part(list(onnx_files.onnx_tricks()), 4))


@pytest.mark.heavy
@pytest.mark.parametrize("share", range(SHARES))
def test_torchscript_reaches_for_nothing(hostile: Hostile, share: int) -> None:
    tried(hostile, list(torchscript_files.torchscript_tricks(str(hostile.canary)))[share::SHARES], *CHECK)


@pytest.mark.heavy
def test_exported_graphs_reach_for_nothing(hostile: Hostile) -> None:
    hostile.try_all(exported_files.exported_tricks())


@pytest.mark.heavy
def test_onnx_graphs_reach_for_nothing(hostile: Hostile) -> None:
    hostile.try_all(onnx_files.onnx_tricks())


@pytest.mark.heavy
@pytest.mark.parametrize("share", range(SHARES))
def test_mutated_torchscript(hostile: Hostile, share: int) -> None:
    tried(hostile, list(torchscript_files.torchscript_mutations(MUTATIONS))[share::SHARES], *CHECK)


@pytest.mark.heavy
def test_mutated_exported_graphs(hostile: Hostile) -> None:
    assert hostile.try_all(exported_files.exported_mutations(MUTATIONS)) == MUTATIONS


@pytest.mark.heavy
def test_mutated_onnx_graphs(hostile: Hostile) -> None:
    assert hostile.try_all(onnx_files.onnx_mutations(MUTATIONS)) == MUTATIONS
