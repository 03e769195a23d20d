"""Trying candidates on labelled images: how many are right, and races in which the clearly worse leave.

What is tried, on which images and on how many depends on the file and the images only, never on the clock:
the same choice comes out on any machine, however busy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.normalisation import Normalisation, Normalise
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.choices import Choice, less_likely, mean_loss, odds, ranked, same_answers
from robaudit.inputs.recovery.likelihood import calibrated_losses

#: (least, most) images of a glance, a look and the last word, and the multiplications each may cost.
ROUNDS = ((16, 64, 2e9), (48, 512, 12e9), (96, 2000, 20e9))
#: Multiplications that pairs which nothing speaks for may cost in their first lap, and the fewest of them tried.
UNLIKELY, FEWEST = 1e11, 12
#: Images of a race's first lap; each lap doubles them.
LAP = 8
#: Deviations (with the cost's worth) behind the likeliest at which a runner leaves the race.
BEHIND = 3.0
#: Multiplications an image for each learned number, as in a ResNet-18 for 32x32 pixels.
USUAL_WORK = 50
#: Learned numbers of the networks kept in memory; on the CPU most share theirs with the file.
KEPT = 300_000_000
#: Images after which a variation is given up that answers as what it varies, or has a greater loss by so many
#: standard errors.
HOPELESS, NO_BETTER = 64, 1.0
#: Variations that go on after so many images, half as many after twice that, and so on down to a few.
MANY, FEWER = 16, 4
Pair = tuple[Candidate, Normalisation]


def multiplications(network: nn.Module, image: torch.Tensor) -> int:
    """What a network costs for one image (1, C, H, W), on any machine: multiplications of its layers.

    Programs have no layers to count; theirs are taken as so many a learned number.
    """
    total = 0

    def count(module: nn.Module, _: Any, result: torch.Tensor) -> None:
        nonlocal total
        total += result.numel() * module.weight[0].numel()  # type: ignore[index]

    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return total or USUAL_WORK * sum(parameter.numel() for parameter in network.parameters())


@dataclass
class Trial:
    """The images that candidates are tried on, how many in each round, and what is known already."""

    images: Images
    device: str = "cpu"
    counts: tuple[int, ...] = (64, 512, 2000)
    work: float = 1
    works: dict[str, float] = field(default_factory=dict)
    known: dict[tuple[str, str], Choice] = field(default_factory=dict)
    networks: dict[str, nn.Module] = field(default_factory=dict)

    def measure(self, candidates: list[Candidate]) -> None:
        """Set the images of each round by the multiplications of the first candidate that runs."""
        work = next((work for c in candidates[:8] if (work := self._work(c)) < math.inf), None)
        if work is not None:
            self.work = work
            self.counts = tuple(int(min(most, max(least, budget / work))) for least, most, budget in ROUNDS)

    def affordable(self, pairs: list[Pair]) -> list[Pair]:
        """Of unlikely pairs, the likelier first, those that `UNLIKELY` multiplications let try a lap.

        A structure that costs more than what is left is passed over; some of usual cost are tried in any case.
        """
        left, chosen = UNLIKELY / LAP, list[Pair]()
        for pair in pairs:
            if left < self.work / 4 and len(chosen) >= FEWEST:
                break
            work = self._work(pair[0])
            if work <= left or (len(chosen) < FEWEST and work <= 2 * self.work):
                chosen.append(pair)
                left -= work
        return chosen

    def _work(self, candidate: Candidate) -> float:
        """Multiplications of one image; infinite where it does not run."""
        if candidate.spec not in self.works:
            try:
                image = self.images.float(slice(0, 1)).to(self.device)
                work: float = max(multiplications(self.network(candidate), image), 1)
            except (RobauditError, RuntimeError, ValueError):
                work = math.inf
            self.works[candidate.spec] = work
        return self.works[candidate.spec]

    def logits(self, network: nn.Module, rows: range) -> torch.Tensor:
        """(n, classes) of a normalised network on the images `rows`, on the CPU."""
        found = []
        with torch.no_grad():
            for start in range(rows.start, rows.stop, 100):
                part = slice(start, min(start + 100, rows.stop))
                logits = network(self.images.float(part).to(self.device))
                if logits.ndim != 2 or logits.shape[0] != part.stop - part.start:
                    raise RobauditError(f"output of shape {tuple(logits.shape)}; expected (N, classes)")
                found.append(logits.cpu())
        return torch.cat(found)

    def with_losses(self, choice: Choice, count: int, *, free: bool = True) -> Choice:
        """The choice with its losses on so many images; `free` as in `calibrated_losses`."""
        count = min(count, len(self.images))
        tried = self.choice((choice.candidate, choice.normalisation), max(count, len(choice.right)))
        if tried is None or tried.logits is None:
            raise RobauditError(
                f"{choice.candidate.spec}: ran on few images and fails on {count}; pass --arch"
            )
        losses = calibrated_losses(tried.logits[:count], self.images.labels[:count], free=free)
        return replace(choice, losses=losses)

    def network(self, candidate: Candidate) -> nn.Module:
        """The candidate's network on the device; the last few built are kept."""
        network = self.networks.get(candidate.spec)
        if network is None:
            network = assemble(candidate).to(self.device)
            size = sum(parameter.numel() for parameter in network.parameters())
            if (len(self.networks) + 1) * size > KEPT:
                self.networks.clear()
            self.networks[candidate.spec] = network
        return network

    def choice(self, pair: Pair, count: int) -> Choice | None:
        """A pair tried on so many images, counting on from those it has seen; None if it cannot run."""
        candidate, norm = pair
        count = min(count, len(self.images))
        known = self.known.get((candidate.spec, norm.text))
        seen = len(known.right) if known else 0
        if known is None or seen < count:
            try:
                network = nn.Sequential(Normalise(norm).to(self.device), self.network(candidate)).eval()
                logits = self.logits(network, range(seen, count))
            except (RobauditError, RuntimeError, ValueError):
                return None
            if known is not None and known.logits is not None:
                logits = torch.cat([known.logits, logits])
            right = (logits.argmax(1) == self.images.labels[:count]) & torch.isfinite(logits).all(1)
            known = self.known[candidate.spec, norm.text] = Choice(candidate, norm, right, logits)
        return Choice(candidate, norm, known.right[:count], known.logits)

    def race(self, pairs: list[Pair], count: int, rival: Choice | None = None) -> list[Choice]:
        """Every pair on so many images, in laps; who is clearly behind the best leaves.

        With a rival, those leave too that see as it does or less, by their losses, after `HOPELESS` images.

        Returns:
            Those who finished, the best first, then the others, the last to leave first.

        """
        runners, left = list(dict.fromkeys(pairs)), list[Choice]()
        count, lap = min(count, len(self.images)), LAP
        while True:
            lap = min(lap, count)
            done = [choice for pair in runners if (choice := self.choice(pair, lap))]
            runs = [*done, *([rival] if rival else [])]
            best = ranked(runs)[0] if runs else None
            behind = {id(c): odds(c, best) for c in runs} if best else {}
            stay = [c for c in done if behind[id(c)] <= min(behind.values()) + BEHIND]
            if rival and lap >= HOPELESS:
                stay = self._hopeful(stay, rival, lap)
            staying = {id(c) for c in stay}
            left = [*ranked([c for c in done if id(c) not in staying]), *left]
            if lap >= count or not stay:
                return [*ranked(stay), *left]
            runners, lap = [(c.candidate, c.normalisation) for c in stay], 2 * lap

    def _hopeful(self, variations: list[Choice], rival: Choice, lap: int) -> list[Choice]:
        """Of what varies a rival, those that may yet be better than it, the fewer the more images they have seen."""
        level = self.with_losses(rival, lap)
        tried = [(c, self.with_losses(c, lap)) for c in variations if not same_answers(c, rival, lap)]
        good = [(c, seen) for c, seen in tried if less_likely(seen, level) < NO_BETTER]
        good.sort(key=lambda pair: (mean_loss(pair[1]), pair[0].candidate.cost))
        return [c for c, _ in good[: max(FEWER, HOPELESS * MANY // lap)]]

    def finished(self, race: list[Choice], count: int) -> list[Choice]:
        """Those of a race over so many images who ran to the end."""
        return [choice for choice in race if len(choice.right) == min(count, len(self.images))]
