"""`robaudit landscape` as a user meets it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from robaudit.cli import run
from robaudit.evidence import Surface
from robaudit.reports import draw_landscapes
from robaudit.reports.surfaces import scale_of, shown, typical
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
    assert masked["boundary"] > 0.5
    said = capsys.readouterr().out
    assert "no gradient" in said
    assert "higher is worse" in said
    draw_landscapes([Surface.load(tmp_path / "a.2.npz")], tmp_path / "b.svg", which="mean", colours="grey")
    assert (tmp_path / "b.svg").read_bytes()[:5] == b"<?xml"


def test_the_scale_shows_the_shape():
    flat = scale_of(np.full((3, 3), 2.0) + 1e-5 * np.arange(9).reshape(3, 3))
    assert flat.flat
    assert flat.high - flat.low == pytest.approx(1e-3)
    cliff = scale_of(np.array([0.0, 0.0, 0.0, 0.0, 500.0]))
    assert cliff.log
    assert [text for _, text in cliff.ticks()] == ["0.1", "1", "10", "100"]
    assert cliff.heights(np.array([0.0, 500.0])).tolist() == pytest.approx([np.log10(0.05), np.log10(500)])
    slope = scale_of(np.linspace(0.4, 1.4, 50))
    assert not slope.log
    assert not slope.flat
    assert [text for _, text in slope.ticks()] == ["0.5", "0.75", "1", "1.25"]


def test_the_typical_images_are_right_ones_of_median_and_most_ruggedness(tmp_path):
    draw(DISTILLED, "--images", 6, "--grid", 7, "--out", tmp_path / "a.png")
    found = replace(
        Surface.load(tmp_path / "a.npz"), roughness=np.array([3.0, 1, 5, 0, 2, 4]), labels=np.zeros(6, int)
    )
    found = replace(found, predictions=np.array([0, 0, 1, 0, 0, 0]))
    assert typical(found) == (4, 5)
    titles = [item.title for item in shown(found)]
    assert titles[0].startswith("median image")
    assert titles[1].startswith("most rugged image")


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
        (["--mean", "--each"], "--mean"),
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
