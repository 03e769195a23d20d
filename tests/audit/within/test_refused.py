"""Evidence that cannot be that of a sample is refused, by `verify` and before it is gone on with."""

from dataclasses import replace

import numpy as np
import pytest

from robaudit.audit import Recompute, audit, verify
from robaudit.audit.prices import Prices
from robaudit.audit.short_attacks import ShortAttacks
from robaudit.errors import RobauditError
from robaudit.evidence import (
    MINIMUM,
    QUERIES,
    SCOUT_DEEP,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    EvidenceFile,
    Outcome,
)
from robaudit.plan import ThreatModel
from robaudit.reports import summary
from robaudit.reports.formatting import precision_text
from robaudit.verdict import accuracy, judge
from robaudit.verdict.sample_claims import sample_contradictions
from robaudit.verdict.sampling import CHOSEN, candidates, drawn
from tests.audit.within.changes import edited, through
from tests.audit.within.plans import BUDGET, PLAN
from tests.evidence.edits import editing


def test_a_policys_minimum_without_a_sample_is_refused(models, images, split, tmp_path):
    path = tmp_path / "minimum"
    audit(models["honest"], images, replace(PLAN, within=None), path=path)
    with editing(path) as db:
        for key, part, value in (("plan", "within", 0.03), ("early_stopping", MINIMUM, 1)):
            change = "UPDATE header SET value = json_set(value, ?, ?) WHERE key = ?"
            db.execute(change, (f"$.{part}", value, key))
    with EvidenceFile.open(path) as file:
        evidence = file.read()
    failures = verify(path, models["honest"], images=split).failures
    assert any("a policy's minimum is said to be decided by it" in text for text in failures)
    assert any("its short attacks are not through" in text for text in failures)
    assert "attacked to the end" in precision_text(summary(evidence, judge(evidence)))


def test_evidence_of_no_example_is_no_sample(found, folder, models, split, tmp_path):
    path = tmp_path / "none"
    path.write_bytes((folder / "honest").read_bytes())
    with editing(path) as db:
        for table in ("outcomes", "images", "answers", "metrics", "examples"):
            db.execute(f"DELETE FROM {table}")
    assert verify(path, models["honest"], images=split).failures
    with EvidenceFile.open(path) as file:
        assert candidates(file.read()) is None


def test_what_cannot_be_a_sample_is_refused_before_anything_is_attacked(
    found, folder, models, images, tmp_path
):
    path = tmp_path / "kept"
    path.write_bytes((folder / "masked").read_bytes())
    with editing(path) as db:
        db.execute(f"DELETE FROM outcomes WHERE attack = '{SCOUT_TARGETED}' AND outcome = 0")
        before = list(db.execute("SELECT * FROM outcomes ORDER BY attack, id"))
    with pytest.raises(RobauditError, match="holds what is not true"):
        audit(models["masked"], images, replace(PLAN, within=0.02), path=path)
    with editing(path) as db:
        assert list(db.execute("SELECT * FROM outcomes ORDER BY attack, id")) == before


def test_a_beginning_said_to_be_made_on_too_few_is_refused(found):
    evidence = found["honest"]
    among = np.flatnonzero(candidates(evidence))
    state = evidence.header.early_stopping | {CHOSEN[SCOUT_DEEP]: 1}
    evidence = replace(evidence, header=replace(evidence.header, early_stopping=state))
    record = evidence.attacks[SCOUT_TARGETED]
    evidence = replace(evidence, attacks=evidence.attacks | {SCOUT_DEEP: record})
    evidence = edited(evidence, SCOUT_DEEP, among, Outcome.ROBUST, 0)
    evidence = edited(evidence, SCOUT_DEEP, among[:5], Outcome.ROBUST, 21)
    assert any("is said to have been tried on" in text for text in sample_contradictions(evidence))


def test_who_got_a_part_of_squares_queries_is_looked_at(models, images, split, tmp_path, monkeypatch):
    """Else a file would say that just those got it that Square broke late, whose margins are large by then."""
    network = through(models["honest"], lambda network, x: network((20 * x).round() / 20))
    monkeypatch.setattr(Prices, "worth", lambda self, candidates: 0.0)
    monkeypatch.setattr(ShortAttacks, "_worth_a_part", lambda self, left, *_: np.zeros_like(left))
    monkeypatch.setattr(ShortAttacks, "_choose", lambda self, scout, *_: self._keep(**{CHOSEN[scout]: 0}))
    budget = replace(BUDGET, square_queries=1000)
    plan = replace(PLAN, threat=ThreatModel("Linf", 0.15), budget=budget)
    path = tmp_path / "forged"
    evidence = audit(network, images, plan, path=path, force=True)
    among, square = candidates(evidence), evidence.attacks["square"]
    lost = among & drawn(evidence, among) & evidence.broken("square") & (square.steps > QUERIES[SCOUT_MORE])
    assert lost.sum() > 5
    whole = evidence.attacks[SCOUT_QUERIES].steps > 0
    others = np.flatnonzero(among & ~lost & ~whole & evidence.survives("square"))[:32]
    part = lost | whole | np.isin(np.arange(len(evidence)), others)
    with editing(path) as db:
        drop = f"DELETE FROM outcomes WHERE attack = '{SCOUT_QUERIES}' AND id = ?"
        db.executemany(drop, [(key,) for key in evidence.ids[lost].tolist()])
        db.execute(
            f"UPDATE header SET value = json_set(value, '$.{CHOSEN[SCOUT_MORE]}', 1) WHERE key = 'early_stopping'"
        )
        rows = [(int(evidence.ids[row]), 300 * int(part[row])) for row in np.flatnonzero(among)]
        db.executemany(f"INSERT INTO outcomes VALUES ('{SCOUT_MORE}', ?, 0, ?, 0, 0, NULL)", rows)
    with EvidenceFile.open(path) as file:
        assert accuracy(file.read(), "autoattack").low > accuracy(evidence, "autoattack").low
    failures = verify(path, network, images=split, again=Recompute(1000, 1)).failures
    assert any("is said to have been among the nearest" in text for text in failures)
