"""Options refuse bad values at birth and say what was meant."""

import pytest

from robaudit.plan import AuditPlan, Bounds, Budget, ThreatModel, parse_fraction


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), (" 0.3 ", 0.3), ("1e-2", 0.01), ("1/1", 1.0)]
)
def test_fractions(text, value):
    assert parse_fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "eight", "8/0", "8/", "nan", "inf", "1/2/3"])
def test_bad_numbers_are_named(text):
    with pytest.raises(ValueError, match="not a number"):
        parse_fraction(text)


def test_eps_of_8_is_probably_8_of_255():
    with pytest.raises(ValueError, match="did you mean 8/255"):
        ThreatModel("Linf", 8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ThreatModel("L3", 0.1),
        lambda: ThreatModel("Linf", 0),
        lambda: ThreatModel("Linf", -0.1),
        lambda: ThreatModel("L2", float("nan")),
        lambda: Budget(square_queries=0),
        lambda: Budget(targets=1.5),
        lambda: Bounds(pgd_square=8),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), attacks=("pgd",)),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), attacks=()),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), attacks=("square", "square")),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), confidence=99),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), limit=0),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), seed=-1),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), examples="some"),
        lambda: AuditPlan(ThreatModel("Linf", 0.1), engine="other"),
    ],
)
def test_bad_values_are_refused(make):
    with pytest.raises(ValueError, match=r"must|not known|twice"):
        make()


def test_a_plan_comes_back_from_its_data():
    plan = AuditPlan(ThreatModel("L2", 0.5), limit=7, budget=Budget(square_queries=9))
    assert AuditPlan.from_dict(plan.to_dict()) == plan
    with pytest.raises(ValueError, match="does not fit"):
        AuditPlan.from_dict(plan.to_dict() | {"unknown": 1})
    with pytest.raises(ValueError, match="does not fit"):
        AuditPlan.from_dict({})


def test_a_sample_of_autoattack_needs_no_other_word():
    """`--attacks autoattack --within 1`: its attacks alone and PGD-10, which a sample takes, not the cascade of all."""
    threat = ThreatModel("Linf", 0.1)
    for names in ("autoattack", "pgd10,autoattack", ["autoattack"]):
        plan = AuditPlan.from_flags(threat, attacks=names, within=1)
        assert plan == AuditPlan.from_flags(threat, within=1)
    more = AuditPlan.from_flags(threat, attacks="autoattack,apgd-dlr", within=1)
    assert more.attacks == (*plan.attacks, "apgd-dlr")
    assert AuditPlan.from_flags(threat, attacks="autoattack", within=0).cascade
