"""`robaudit landscape` as a user meets it."""

import json

import numpy as np
import pytest

from robaudit.cli import run
from robaudit.evidence import Surface
from tests.cli.helpers import assert_clear
from tests.shipped import ADVERSARIAL, DISTILLED


def draw(*arguments):
    return run(["landscape", *map(str, arguments), "--dataset", "digits"])


def test_the_honest_and_the_masked_model_part(tmp_path, capsys):
    assert draw(ADVERSARIAL, DISTILLED, "--images", 8, "--grid", 21, "--out", tmp_path / "a.png") == 0
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    honest, masked = Surface.load(tmp_path / "a.npz").numbers(), Surface.load(tmp_path / "a.2.npz").numbers()
    assert honest["falling"] == honest["no_gradient"] == 0
    assert masked["falling"] > 0.5
    assert "no gradient" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_every_kind_of_picture_and_the_same_one_twice(kind, start, tmp_path):
    files = [tmp_path / f"{name}.{kind}" for name in ("a", "b")]
    for file in files:
        assert draw(ADVERSARIAL, "--images", 2, "--grid", 7, "--each", "--out", file) == 0
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(start)
    one, two = (np.load(file.with_suffix(".npz"))["loss"] for file in files)
    assert (one == two).all()
    assert one.shape == (2, 7, 7)


def test_chosen_examples_and_a_larger_set_agree(tmp_path):
    draw(ADVERSARIAL, "--images", 5, "--grid", 7, "--out", tmp_path / "a.png")
    some = Surface.load(tmp_path / "a.npz")
    draw(ADVERSARIAL, "--example", some.ids[3], "--grid", 7, "--out", tmp_path / "b.png")
    one = Surface.load(tmp_path / "b.npz")
    assert one.ids.tolist() == [some.ids[3]]
    np.testing.assert_allclose(one.loss[0], some.loss[3], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--grid", "50"], "grid 50"),
        (["--span", "0"], "span 0"),
        (["--images", "0"], "images 0"),
        (["--images", "40", "--each"], "images 40"),
        (["--example", "99999"], "example 99999"),
        (["--eps", "8"], "eps 8"),
        (["--out", "a.jpeg"], "a.jpeg"),
        (["--out", "no/such/folder/a.png"], "no/such/folder"),
        ([ADVERSARIAL, ADVERSARIAL], str(ADVERSARIAL)),
    ],
)
def test_bad_requests_leave_nothing(arguments, start, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_clear(capsys, draw(ADVERSARIAL, *arguments), start)
    assert [item for item in tmp_path.iterdir() if item.name != "cache"] == []


def test_no_display_and_no_fonts_are_no_obstacle(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    monkeypatch.setenv("FONTCONFIG_PATH", str(tmp_path))
    assert draw(ADVERSARIAL, "--images", 1, "--grid", 5, "--out", tmp_path / "a.png") == 0


def test_a_hostile_name_is_only_text(tmp_path, capsys):
    target = tmp_path / "a$\\frac{\x1b[31m}$<b>.safetensors"
    target.write_bytes(ADVERSARIAL.read_bytes())
    assert draw(target, "--images", 1, "--grid", 5, "--out", tmp_path / "a.svg") == 0
    assert "\x1b[31m" not in capsys.readouterr().out
    assert "\x1b" not in (tmp_path / "a.svg").read_text()


def test_damaged_landscapes_are_refused(tmp_path):
    from robaudit.errors import RobauditError

    draw(ADVERSARIAL, "--images", 1, "--grid", 5, "--out", tmp_path / "a.png")
    good = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.npz").write_text("no")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "shape.npz", **arrays | {"labels": np.zeros(7)})
    np.savez(tmp_path / "other.npz", **arrays | {"about": np.frombuffer(json.dumps({}).encode(), np.uint8)})
    np.savez(tmp_path / "object.npz", **arrays | {"labels": np.array([{}], dtype=object)})
    for name in ("short", "text", "shape", "other", "object", "none"):
        with pytest.raises(RobauditError, match=f"{name}.npz"):
            Surface.load(tmp_path / f"{name}.npz")
