"""Pieces, limits and clocks: what every stage of benchmarks/gpu.py stands on."""

import json

import pytest

from robaudit.errors import RobauditError


def test_pieces_hold_what_was_put_into_them(tmp_path):
    from gpu_stages import pieces

    data = bytes(range(256)) * 5
    made = pieces.pieces_of("weights", data, most=500)
    assert list(made) == ["weights.1of3", "weights.2of3", "weights.3of3"]
    assert max(map(len, made.values())) <= 500
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    assert pieces.read(tmp_path, "weights") == data
    assert pieces.names_in(tmp_path) == ["weights"]
    assert pieces.read(tmp_path, "other") is None


def test_pieces_of_two_versions_and_missing_ones_are_refused(tmp_path):
    from gpu_stages import pieces

    for name, content in pieces.pieces_of("a", b"x" * 1000, most=500).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.2of3").write_bytes(pieces.pieces_of("a", b"y" * 1000, most=500)["a.2of3"])
    with pytest.raises(RobauditError, match="do not belong together"):
        pieces.read(tmp_path, "a")
    (tmp_path / "a.2of3").unlink()
    with pytest.raises(RobauditError, match=r"a\.2of3: is missing"):
        pieces.read(tmp_path, "a")


def test_a_folder_stays_within_its_files_and_bytes(tmp_path, monkeypatch):
    from gpu_stages import pieces, results

    monkeypatch.setattr(pieces.pieces_of, "__defaults__", (1000,))
    monkeypatch.setattr(results, "MOST_BYTES", 6000)
    monkeypatch.setattr(results, "_GROWTH", 1000)
    found = results.Results(tmp_path, "right", {}, "cpu")
    assert found.keep("a", bytes(2500))  # three pieces
    assert found.keep("a", bytes(1800))  # two, in their place
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.1of2", "a.2of2"]
    assert not found.keep("b", bytes(3500))
    assert "no room" in found.left_out["b"]
    for name in ("c", "d", "e", "f"):
        assert found.keep(name, bytes(10))
    assert not found.keep("g", bytes(10))  # six beside the table and the results
    for name in ("a", "c", "d", "e"):
        found.drop(name)
    assert found.keep("b", bytes(3500))  # four pieces, and f
    assert "b" not in found.left_out
    found.say("| a table |")
    assert len(list(tmp_path.iterdir())) == 7


def test_results_are_gone_on_with_and_others_are_refused(tmp_path):
    from gpu_stages.results import Results

    first = Results(tmp_path, "right", {"eps": 0.1, "sizes": (1, 2)}, "card")
    first.took["part"] = 3.0
    first.put("one", {"equal": 1.0})
    again = Results(tmp_path, "right", {"eps": 0.1, "sizes": (1, 2)}, "card")
    assert again.parts == {"one": {"equal": 1.0}}
    assert again.took == {"part": 3.0}
    assert Results(tmp_path, "right", {"eps": 0.1, "sizes": (1, 2)}, "other card").took == {}
    with pytest.raises(RobauditError, match=r"holds other results \(eps 0.1 there and 0.2 now\)"):
        Results(tmp_path, "right", {"eps": 0.2, "sizes": (1, 2)}, "card")
    with pytest.raises(RobauditError, match="holds the stage 'right'"):
        Results(tmp_path, "speed", {}, "card")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RobauditError, match="cannot be resumed"):
        Results(tmp_path, "right", {}, "card")


def test_a_part_that_fails_leaves_the_others_and_is_made_again(tmp_path, capsys):
    from gpu_stages.results import Results

    found = Results(tmp_path, "right", {}, "card")
    found.attempt("bad", lambda: 1 / 0)
    found.attempt("good", lambda: 7)
    found.say("")
    assert "bad: FAILED, ZeroDivisionError" in capsys.readouterr().out
    again = Results(tmp_path, "right", {}, "card")
    assert again.parts == {"good": 7}
    assert list(again.took) == ["good"]
    assert not again.failed
    assert json.loads((tmp_path / "results.json").read_text())["failed"]["bad"].startswith(
        "ZeroDivisionError"
    )


def test_a_deadline_forecasts_by_the_last_part_of_that_name():
    from gpu_stages.deadline import Deadline, TimeIsUp

    now = [0.0]
    deadline = Deadline(10, began=-60.0, clock=lambda: now[0])
    assert deadline.left() == 600 - 60 - 20  # a minute has gone by, and 20 s are kept back
    assert deadline.allows("epoch")
    assert not deadline.allows("epoch", guess=521)
    deadline.took["epoch"] = 100.0
    assert deadline.allows("epoch", guess=521)
    assert deadline.allows("epoch", times=5)
    assert not deadline.allows("epoch", times=5.3)
    now[0] = 450.0
    assert not deadline.allows("epoch")
    deadline.check()
    now[0] = 520.0
    with pytest.raises(TimeIsUp):
        deadline.check()
    assert Deadline(1, clock=lambda: 0.0).left() == 57  # of a short call a twentieth is kept back


def test_join_makes_whole_files_and_loadable_weights(gpu, tmp_path, capsys, monkeypatch):
    import torch
    from gpu_stages import pieces, weights

    from robaudit.inputs import build_architecture, load_classifier, save_classifier

    network = build_architecture("sequential:flatten fcK", classes=10, in_channels=1, image_size=8)
    save_classifier(
        network,
        tmp_path / "a.safetensors",
        architecture="sequential:flatten fcK",
        classes=10,
        input_shape=(1, 8, 8),
    )
    out = tmp_path / "out"
    out.mkdir()
    for name, data in (
        ("masked.weights", weights.pack_file(tmp_path / "a.safetensors", half=True)),
        ("unstable.state", bytes(5000)),
    ):
        for piece, content in pieces.pieces_of(name, data, most=1000).items():
            (out / piece).write_bytes(content)
    assert gpu("join", out) == 0
    assert "masked.safetensors" in capsys.readouterr().out
    assert (out / "unstable.state").read_bytes() == bytes(5000)
    found = load_classifier(str(out / "masked.safetensors"), force=True)
    for name, tensor in network.state_dict().items():
        expected = tensor.bfloat16().float() if tensor.dim() > 1 else tensor
        assert torch.equal(found.network.state_dict()[name], expected), name
    assert gpu("join", tmp_path / "none") == 2
    assert gpu("join", tmp_path) == 2
    assert "holds nothing to join" in capsys.readouterr().err
