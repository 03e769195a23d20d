"""What the indicators of attack failure say about PGD-10's number, before any stronger attack has run.

Pintor et al. 2022 (https://arxiv.org/abs/2106.09947), who alarm from a mean of 10 % on. They are measured by
`audit.failures` on the probed examples that PGD-10 leaves standing; `benchmarks/detectors.py` holds them against
networks of known truth.
"""

from __future__ import annotations

from collections.abc import Mapping

from robaudit.wording import examples

#: Indicator: the mean from which it counts, and what it says of PGD-10's failures. Of honest networks at a large radius
#: up to 18 % would have been broken by as many steps again.
ALARMS: dict[str, tuple[float, str]] = {
    "unavailable_gradients": (0.10, "{share} had no gradient"),
    "unstable_predictions": (0.10, "the loss changes by {share} beside the input"),
    "silent_success": (0.10, "{share} had been broken on the way"),
    "incomplete_optimization": (0.25, "{share} would have been broken by as many steps again"),
    "transfer_failure": (0.10, "{share} broke the model that was attacked, not the one that is judged"),
    "unconstrained_attack_failure": (0.10, "{share} were not broken without a bound either"),
}
#: The paper's six, by its names and in its order.
INDICATORS = tuple(ALARMS)
#: Fewer examples than these are chance: an honest network's PGD-10 loses one or two on the way now and then.
_FEWEST = 3
#: That PGD-10 stops too early is made up for by the stronger attacks' steps, and on honest networks up to 20 % of few
#: failures would have been broken by more: it is told, and is not a sign on its own.
_FIXED = "incomplete_optimization"
#: Of two means over draws of their own, what breaks one need not break the other.
_BY_DRAWS = "transfer_failure"
#: These two leave no doubt: no honest network of the calibration had any such failure.
_BEYOND_DOUBT = ("unavailable_gradients", "unconstrained_attack_failure")
_CLEAR_SHARE = 0.25


def failure_alarms(probes: Mapping[str, float], draws: int = 1) -> dict[str, float]:
    """The indicators that count, with their means in [0, 1]; empty unless one says that PGD-10's failures are its.

    Args:
        probes: what was measured.
        draws: of a randomised model whose mean is attacked and judged. Each has its own, and what lies close to the
            boundary then breaks one mean and not the other, whatever the model is like.

    """
    found = {
        name: probes[name]
        for name, (least, _) in ALARMS.items()
        if probes.get(name, 0.0) >= least
        and round(probes[name] * _failures(probes)) >= _FEWEST
        and not (draws > 1 and name == _BY_DRAWS)
    }
    return found if found.keys() - {_FIXED} else {}


def attack_fails(probes: Mapping[str, float], draws: int = 1) -> bool:
    """Whether PGD-10 fails so often for reasons of its own that nothing found is not a sign of robustness."""
    return bool(failure_alarms(probes, draws))


def failure_sentence(probes: Mapping[str, float], draws: int = 1) -> str:
    """What the indicators say, in one sentence; empty where none counts."""
    alarms = failure_alarms(probes, draws)
    if not alarms:
        return ""
    parts = [ALARMS[name][1].format(share=f"{100 * value:.0f} %") for name, value in alarms.items()]
    clear = any(alarms.get(name, 0.0) >= _CLEAR_SHARE for name in _BEYOND_DOUBT)
    start = "PGD-10's number says nothing here" if clear else "PGD-10 fails for reasons of its own"
    failures = _failures(probes)
    return f"{start}: of its {failures} failures on {examples(probes['examples'])} {' and '.join(parts)}."


def _failures(probes: Mapping[str, float]) -> int:
    """Probed examples that PGD-10 left standing."""
    return round(probes["pgd10"] * probes["examples"])
