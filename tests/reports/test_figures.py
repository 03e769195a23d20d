"""The charts against numbers counted by hand."""

import re

import numpy as np
import pytest

from robaudit.reports import open_case
from robaudit.reports.charts import Axis, Plot, bars, tick_steps
from robaudit.reports.figures import (
    BINS,
    METRICS,
    counts,
    curves_chart,
    gap_chart,
    metric_chart,
    other_references,
    references,
)
from robaudit.reports.per_class import per_class
from robaudit.reports.probe_figures import eps_chart, finding_figure
from robaudit.stats import gap_sequence
from robaudit.verdict import paired, population


@pytest.fixture(scope="module")
def case(audited):
    return open_case(audited / "masked.evidence")


def points(svg, style):
    found = re.search(rf'<poly(?:line|gon) class="{style}" points="([^"]+)"', svg)
    return np.array([list(map(float, pair.split(","))) for pair in found[1].split()])


def test_a_line_lies_where_it_should():
    plot = Plot("t", Axis("x", 0, 10, ()), Axis("y", -1, 1, ()), height=150)
    plot.line([0, 10], [-1, 1], "s")
    np.testing.assert_allclose(points(plot.svg(), "s"), [[48, 108], [444, 26]])
    log = Axis("x", 1, 100, (), log=True)
    assert [log.share(value) for value in (0.1, 1, 10, 100, 1000)] == [0, 0, 0.5, 1, 1]


def test_bars_have_the_length_of_their_value():
    svg = bars("t", [("a<b", 0.5, 0.25, 0.75, "bar1")])
    assert "a&lt;b" in svg
    assert 'width="224.0"' in svg  # half of 460 - 2 * 6


def test_the_gap_charts_band_ends_at_the_verdicts_interval(case):
    svg = gap_chart(case.evidence, case.data, "pgd10-square")
    found = paired(case.evidence, "pgd10", "square")
    interval = gap_sequence(found.values, population(case.evidence), case.evidence.header.plan.confidence)
    band = points(svg, "band")
    right = band[band[:, 0] == band[:, 0].max()][:, 1]
    scale = lambda value: 26 + 212 * (1 - (value + 0.6) / 1.6)  # noqa: E731
    np.testing.assert_allclose(sorted(right), sorted(map(scale, (interval.low, interval.high))), atol=0.06)
    assert f"decided after {case.data['verdict']['decided_after']}" in svg


def test_curves_end_at_the_robust_accuracy(case):
    """All of the same examples, whatever else an attack was run on."""
    svg, names, examples = curves_chart(case.evidence)
    among = np.logical_and.reduce([case.evidence.known(name) for name in names])
    assert examples == among.sum() > 0
    for name in names:
        line = points(svg, f"curve a-{name}")
        height = 26 + 192 * (1 - case.evidence.survives(name)[among].mean())
        assert line[-1, 1] == pytest.approx(height, abs=0.06), name
        assert (np.diff(line[:, 1]) >= 0).all(), "accuracy never rises with the budget"


def test_histograms_count_every_example():
    values = np.array([-5.0, 0.0, 0.1, 0.5, 1.999, 7.0])
    assert counts(values, "fosc_normalised").sum() == 6
    assert counts(values, "fosc_normalised")[[0, -1]].tolist() == [2, 2]


def test_the_honest_references_are_what_their_script_makes(case):
    found = references()["models"]
    for item in found:
        for name in METRICS:
            assert len(item[name]) == BINS
            assert sum(item[name]) == item["examples"]
    assert {item["model"] for item in found} >= {"digits_adversarial.safetensors"}
    for name in METRICS:
        assert 'class="outline"' in metric_chart(case.evidence, name)


def test_a_model_is_never_its_own_reference(case, audited):
    honest = open_case(audited / "honest.evidence").evidence
    names = [item["model"] for item in other_references(honest)]
    assert "digits_adversarial.safetensors" not in names
    assert len(names) == len(references()["models"]) - 1
    assert len(other_references(case.evidence)) == len(references()["models"])


def test_accuracy_against_eps_is_the_probes(case):
    probes = case.evidence.header.probes
    svg = eps_chart(case.evidence)
    heights = [float(value) for value in re.findall(r'<circle [^>]*cy="([^"]+)"', svg)]
    names = ("pgd10_x0.25", "pgd10", "pgd10_x2", "pgd10_x4")
    np.testing.assert_allclose(heights, [26 + 192 * (1 - probes[name]) for name in names], atol=0.06)
    assert finding_figure(case.evidence, case.data, "unbounded-attack-fails")
    assert finding_figure(case.evidence, case.data, "few-examples") is None


def test_classes_stand_by_themselves(case):
    """Of the digits a class has about 12 of 120 examples, too few; with a lower limit each is counted."""
    assert per_class(case) == []
    found = case.evidence
    rows = per_class(case, fewest=1)
    assert sum(row["n"] for row in rows) == found.known("pgd10").sum()
    broken = np.any([found.broken(name) for name in found.attacks], axis=0)
    worst = rows[0]
    mine = (found.labels == int(worst["name"])) & found.known("pgd10")
    assert float(worst["stands"].split()[0]) == pytest.approx(
        100 * (found.correct & ~broken)[mine].mean(), abs=0.06
    )


def test_ticks_are_round():
    assert [text for _, text in tick_steps(64)] == ["0", "20", "40", "60"]
    assert [text for _, text in tick_steps(0.5)] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
