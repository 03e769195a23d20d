"""Small experiments on a few examples that tell why a gradient attack may have been fooled.

Each is one number, kept in the evidence's header; what it means is judged later (`verdict.causes`). The checks follow
Athalye et al. 2018 (https://arxiv.org/abs/1802.00420, Section 3.1) and Carlini et al. 2019
(https://arxiv.org/abs/1902.06705, Section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks import PGD, PGD_STEP, Examples, PGDState, Retired, forward, geometry
from robaudit.attacks.objectives import Evaluation, cross_entropy, evaluate, misclassified
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import take
from robaudit.audit.failures import indicators
from robaudit.devices import in_parts
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.measures import fosc, sgcs
from robaudit.plan import ThreatModel
from robaudit.verdict import INDICATORS

#: Correctly classified examples that the probes are made on.
PROBE_EXAMPLES = 48
#: Survivors of PGD-10 below which no mean over them is taken.
FEWEST_EXAMPLES = 8
_MORE_STEPS = 40
_STARTS = 5
_NOISES = 20
_UNBOUNDED_STEPS = 80
#: Radii at which PGD-10 is repeated, as multiples of the threat model's.
_RADII = (0.25, 1.0, 2.0, 4.0)
#: Steps of `probe` that it tells of.
EXPERIMENTS = len(_RADII) + 5


def probe(
    engine_for: Callable[[ThreatModel], Engine],
    examples: Examples,
    threat: ThreatModel,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """Which of `examples`, all correctly classified, survive each experiment, and what their logits are like.

    Args:
        engine_for: the engine for a threat model.
        examples: (n, C, H, W) in [0, 1] with n > 0.
        threat: the audit's.
        seed: the audit's.
        advance: called after each of `EXPERIMENTS`.

    Returns:
        (n,) bool each, on the CPU. `pgd10`, `pgd10_x0.25`, `pgd10_x2`, `pgd10_x4`: PGD-10 at these multiples of eps.
        `pgd40`: more steps. `pgd10_margin`: on the margin in place of the cross-entropy. `starts`: 5 random starts.
        `other_norm`: PGD-10 in another norm's ball (`_other_norm`). `fgsm`: one step of eps from the clean input.
        `noise`: 20 random corners of the ball. `unbounded`: 80 of PGD-10's steps without its bound. `saturated`: the
        softmax is exactly 1 in float32. `silent`: the gradient of the cross-entropy is exactly zero. And (n,) float
        `linearity`: the local linearity error; and of `verdict.INDICATORS` those that are not a probe already, whatever
        came of PGD-10.

    """
    survived: dict[str, Tensor] = {}
    for factor in _RADII:
        radius = min(factor * threat.eps, 1.0) if threat.norm == "Linf" else factor * threat.eps
        name = "pgd10" if factor == 1 else f"pgd10_x{factor:g}"
        survived[name] = _pgd(engine_for, examples, ThreatModel(threat.norm, radius), seed)
        advance()
    survived["pgd40"] = _pgd(engine_for, examples, threat, seed, steps=_MORE_STEPS)
    margin = PGD(threat.norm, threat.eps, PGD_STEP * threat.eps, seed=seed, loss="margin")
    survived["pgd10_margin"] = _standing(engine_for(threat), margin, examples)
    advance()
    survived["starts"] = survived["pgd10"].clone()
    for number in range(1, _STARTS):
        survived["starts"] &= _pgd(engine_for, examples, threat, seed + number)
    advance()
    survived["other_norm"] = _pgd(engine_for, examples, _other_norm(threat, examples.x[0].numel()), seed)
    advance()
    size = examples.x[0].numel()
    whole = {"Linf": 1.0, "L2": math.sqrt(size), "L1": float(size)}[threat.norm]
    # From PGD-10's start and by its steps: from a random image, or by leaps, a network without a usable gradient falls.
    unbounded = PGD(
        threat.norm, whole, PGD_STEP * threat.eps, steps=_UNBOUNDED_STEPS, seed=seed, start_eps=threat.eps
    )
    survived["unbounded"] = _standing(engine_for(ThreatModel(threat.norm, whole)), unbounded, examples)
    advance()
    engine = engine_for(threat)

    pgd10 = PGD(threat.norm, threat.eps, PGD_STEP * threat.eps, seed=seed)

    def without_engine(rows: Tensor) -> dict[str, Tensor]:
        here = take(examples, rows).to(engine.device)
        followed = indicators(engine.search, engine.strict, pgd10, here)
        return followed | _without_engine(engine.strict, here, threat, seed)

    parts = in_parts(without_engine, torch.arange(len(examples)), len(examples))
    advance()
    return survived | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _without_engine(
    model: Callable[[Tensor], Tensor], examples: Examples, threat: ThreatModel, seed: int
) -> dict[str, Tensor]:
    """What one or a few passes tell, by the names of `probe`."""
    x, y = examples.x, examples.y
    at = evaluate(model, x, lambda logits: cross_entropy(logits, y))
    step = threat.eps * geometry.steepest(at.gradient, x, threat.norm)
    found = {
        "fgsm": ~misclassified(forward(model, (x + step).clamp(0, 1)), y),
        "noise": _noise(model, examples, threat, seed),
        "saturated": torch.where(_probabilities(at.logits), at.logits, at.logits.softmax(1)).amax(1) == 1,
        "silent": at.gradient.flatten(1).abs().amax(1) == 0,
        "linearity": _linearity_error(model, examples, at, step, threat, seed),
    }
    return {name: rows.cpu() for name, rows in found.items()}


def _probabilities(answers: Tensor) -> Tensor:
    """(n, 1) bool: answers (n, K) that are a softmax already."""
    sums_to_one = (answers.sum(1, keepdim=True) - 1).abs() < 1e-3
    return sums_to_one & (answers >= 0).all(1, keepdim=True)


def compare_trajectories(
    engines: dict[str, Engine], examples: Examples, threat: ThreatModel, seed: int
) -> dict[str, Tensor]:
    """PGD-10 on several forms of a model: what it leaves, and its FOSC and SGCS there.

    Args:
        engines: by what the names of the results begin with.
        examples: as `probe`.
        threat: the audit's.
        seed: the audit's.

    Returns:
        (n,) each, on the CPU: `pgd10`, whether it stands, and `fosc`, `fosc_normalised`, `sgcs`, of each form.

    """
    attack = PGD(threat.norm, threat.eps, PGD_STEP * threat.eps, seed=seed)
    found: dict[str, Tensor] = {}
    for name, engine in engines.items():
        rows = {
            f"{name}{kind}": torch.zeros(len(examples))
            for kind in ("pgd10", "fosc", "fosc_normalised", "sgcs")
        }

        def retire(retired: Retired, rows: dict[str, Tensor] = rows) -> None:
            state: PGDState = retired.state
            last = fosc(state.gradient, state.candidate, state.x, threat.norm, threat.eps)
            similar = sgcs(state.direction_sum, state.directions, attack.steps)
            standing = retired.outcome != int(Outcome.BROKEN)
            for column, values in zip(
                rows.values(), (standing, last.raw, last.normalised, similar), strict=True
            ):
                column[retired.rows] = values.float().cpu()

        engine.run(attack, examples, retire)
        found |= rows
    return found | {f"{name}pgd10": found[f"{name}pgd10"].bool() for name in engines}


def merged(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of all ranks, of which each had one in as many as there are ranks, in the examples' order."""
    found = {}
    for name, first in parts[0].items():
        rows = torch.zeros(sum(len(part[name]) for part in parts), dtype=first.dtype)
        for rank, part in enumerate(parts):
            rows[rank :: len(parts)] = part[name]
        found[name] = rows
    return found


def summed_up(rows: dict[str, Tensor]) -> dict[str, float]:
    """What the evidence keeps of `probe`: the share of each row, and

    `examples`: n. `only_fgsm`, `only_noise`, `only_pgd40`, `only_starts`: broken by that, but not by PGD-10.
    `linearity`, and the indicators of attack failure: their means over PGD-10's survivors, where there are
    `FEWEST_EXAMPLES` of them.
    """
    standing = rows["pgd10"]
    of_survivors = ("linearity", *INDICATORS)
    found = {name: float(values.float().mean()) for name, values in rows.items() if name not in of_survivors}
    for name in ("fgsm", "noise", "pgd40", "starts"):
        found[f"only_{name}"] = float((standing & ~rows[name]).float().mean())
    errors = rows["linearity"][standing & rows["linearity"].isfinite()]
    if len(errors) >= FEWEST_EXAMPLES:
        found["linearity"] = float(errors.double().mean())
    if standing.sum() >= FEWEST_EXAMPLES:
        failures = rows | {"unconstrained_attack_failure": rows["unbounded"]}
        found |= {name: float(failures[name][standing].float().mean()) for name in INDICATORS}
    return found | {"examples": float(len(standing))}


def _other_norm(threat: ThreatModel, size: int) -> ThreatModel:
    """A ball in another norm that the field uses beside this one (0.5 beside 8/255 on CIFAR, 2 beside 0.3 on MNIST).

    Half that radius from L2's side: a network that is robust in Linf holds there, and need not in L2.
    """
    if threat.norm == "Linf":
        return ThreatModel("L2", threat.eps * math.sqrt(size) / 4)
    if threat.norm == "L1":
        return ThreatModel("L2", 2 * threat.eps / math.sqrt(size))
    return ThreatModel("Linf", min(2 * threat.eps / math.sqrt(size), 1.0))


def _pgd(
    engine_for: Callable[[ThreatModel], Engine],
    examples: Examples,
    threat: ThreatModel,
    seed: int,
    steps: int = 10,
) -> Tensor:
    """(n,) bool: not broken by PGD with the usual share of the radius as its step."""
    attack = PGD(threat.norm, threat.eps, PGD_STEP * threat.eps, steps=steps, seed=seed)
    return _standing(engine_for(threat), attack, examples)


def _standing(engine: Engine, attack: PGD, examples: Examples) -> Tensor:
    """(n,) bool: not broken by `attack`."""
    robust = torch.ones(len(examples), dtype=torch.bool)
    engine.run(attack, examples, lambda r: robust.__setitem__(r.rows, r.outcome != int(Outcome.BROKEN)))
    return robust


def _linearity_error(
    model: Callable[[Tensor], Tensor],
    examples: Examples,
    at: Evaluation,
    step: Tensor,
    threat: ThreatModel,
    seed: int,
) -> Tensor:
    """(n,) >= 0: how far the cross-entropy is from its tangent plane, in units of log K.

    |l(x + d) - l(x) - <d, g>| (Qin et al. 2019, https://arxiv.org/abs/1907.02610, Eq. 5), the larger of two d on the
    ball's surface: along the gradient's steepest direction and at random.
    """
    x, y = examples.x, examples.y
    random = Draws(seed, "linearity").signs(examples.ids, 0, x[0].numel()).reshape(x.shape)
    errors = []
    for delta in (step, threat.eps * geometry.steepest(random, x, threat.norm)):
        moved = (x + delta).clamp(0, 1) - x
        there = cross_entropy(forward(model, x + moved), y)
        tangent = at.loss + (moved * at.gradient).flatten(1).sum(1)
        errors.append((there - tangent).abs() / math.log(at.logits.shape[1]))
    return torch.stack(errors).amax(0)


def _noise(model: Callable[[Tensor], Tensor], examples: Examples, threat: ThreatModel, seed: int) -> Tensor:
    """(n,) bool: still right at every one of some random corners of the ball (points of the sphere for L2)."""
    x, y = examples.x, examples.y
    draws = Draws(seed, "noise")
    right = torch.ones_like(y, dtype=torch.bool)
    for number in range(_NOISES):
        noise = draws.signs(examples.ids, number, x[0].numel())
        if threat.norm == "L1":  # whose corners are few pixels
            noise = draws.uniform(examples.ids, number, x[0].numel()) * 2 - 1
        delta = threat.eps * geometry.steepest(noise.reshape(x.shape), x, threat.norm)
        right &= ~misclassified(forward(model, (x + delta).clamp(0, 1)), y)
    return right
