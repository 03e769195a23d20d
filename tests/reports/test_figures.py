"""The charts against numbers counted by hand."""

import re

import numpy as np
import pytest

from robaudit.reports import open_case
from robaudit.reports.charts import Axis, Plot, bars, tick_steps
from robaudit.reports.figures import BINS, METRICS, counts, curves_chart, gap_chart, metric_chart, references
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
    np.testing.assert_allclose(points(plot.svg(), "s"), [[46, 110], [616, 10]])
    log = Axis("x", 1, 100, (), log=True)
    assert [log.share(value) for value in (0.1, 1, 10, 100, 1000)] == [0, 0, 0.5, 1, 1]


def test_bars_have_the_length_of_their_value():
    svg = bars("t", [("a<b", 0.5, 0.25, 0.75, "bar1")])
    assert "a&lt;b" in svg
    assert 'width="190.0"' in svg  # half of 640 - 110 - 150


def test_the_gap_charts_band_ends_at_the_verdicts_interval(case):
    svg = gap_chart(case.evidence, case.data, "pgd10-square")
    found = paired(case.evidence, "pgd10", "square")
    interval = gap_sequence(found.values, population(case.evidence), case.evidence.header.plan.confidence)
    band = points(svg, "band")
    right = band[band[:, 0] == band[:, 0].max()][:, 1]
    scale = lambda value: 10 + 210 * (1 - (value + 0.6) / 1.6)  # noqa: E731
    np.testing.assert_allclose(sorted(right), sorted(map(scale, (interval.low, interval.high))), atol=0.06)
    assert f"decided after {case.data['verdict']['decided_after']}" in svg


def test_curves_end_at_the_robust_accuracy(case):
    svg, names = curves_chart(case.evidence)
    for place, name in enumerate(names):
        line = points(svg, f"curve{place}")
        height = 10 + 210 * (1 - case.data["accuracy"][name]["value"])
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


def test_ticks_are_round():
    assert [text for _, text in tick_steps(64)] == ["0", "20", "40", "60"]
    assert [text for _, text in tick_steps(0.5)] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
