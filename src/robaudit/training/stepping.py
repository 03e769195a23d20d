"""One step of training: perturb, compute the loss, move the weights; and what was seen on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from robaudit.attacks.randomness import Draws
from robaudit.devices import has_bf16, in_double
from robaudit.engine import rate
from robaudit.errors import RobauditError
from robaudit.fast import WORTH_HALF, LiveForm, execute, live_form, resolve_execution
from robaudit.fast.graphs import GRAPHS
from robaudit.ranks import Ranks
from robaudit.training.awp import moved, perturbation, same_buffers
from robaudit.training.data import Batch
from robaudit.training.inner import Ascent, Attacked, Model, attack, frozen
from robaudit.training.losses import LOSSES, Loss
from robaudit.training.network import ChannelsLast, Trained
from robaudit.training.recorded import RecordedDescent
from robaudit.training.settings import Method, TrainSettings
from robaudit.training.sgd import SGD
from robaudit.training.synchronising import add_up_gradients

#: What a step adds up over its examples, in this order.
SUMS = ("examples", "loss", "loss_clean", "loss_robust", "train_clean", "train_adv", "fosc", "sgcs")
#: Appendix G's names.
NORMS = ("w_grad_norm", "ce_norm", "kl_norm", "grad_cosine_similarity")


class NotFiniteError(RobauditError):
    """The loss was NaN or infinite; the run stopped before the weights were touched by it."""

    def __init__(self, epoch: int, step: int, last: Path, settings: TrainSettings) -> None:
        done = f"{last} is of epoch {epoch}" if epoch else "no epoch was finished"
        super().__init__(
            f"epoch {epoch + 1}, step {step + 1}: the loss is not finite (NaN or infinite), the run stops; "
            f"{done}\n{_calmer(settings)}; the same command would meet it again"
        )


#: Beyond these a setting is a likelier reason than the rate.
_WILD = {"beta": 100.0, "awp": 0.1, "weight_decay": 0.1}


def _calmer(settings: TrainSettings) -> str:
    """What to change, the likeliest first."""
    wild = [name for name, most in _WILD.items() if getattr(settings, name) > most]
    words = [f"lower --{name.replace('_', '-')} (now {getattr(settings, name):g})" for name in (*wild, "lr")]
    words += ["pass --precision fp32"] if settings.precision != "fp32" else []
    return ", or ".join(words)


@dataclass(frozen=True)
class StepResult:
    """Sums over the whole batch's examples by the names of `SUMS`; Appendix G's metrics where they were wanted."""

    sums: dict[str, float]
    finite: bool
    norms: dict[str, float] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """The mean over the batch's examples."""
        return self.sums[name] / self.sums["examples"]


@dataclass(frozen=True)
class StepSpec:
    """What may change from one step to the next.

    Attributes:
        number: the step's, from 0 over all epochs; keys the draws.
        total: examples of the batch over all ranks.
        lr: learning rate.
        noise: standard deviation of the Gaussian noise added to the images, as Algorithm 1 does.
        beta: weight of the robust term.
        inner: what the inner maximisation ascends, by the name of a method.
        norms: whether to take Appendix G's metrics.
        far: whether the inner maximisation begins anywhere in the ball.

    """

    number: int
    total: int
    lr: float
    beta: float
    inner: Method
    noise: float = 0.0
    norms: bool = False
    far: bool = False


class Stepper:
    """Makes the steps of one network and one optimiser."""

    def __init__(self, network: Trained, optimiser: SGD, settings: TrainSettings, ranks: Ranks) -> None:
        self.network, self.optimiser, self.settings, self.ranks = network, optimiser, settings, ranks
        self._live: LiveForm | None = None
        self._passes: Model = network
        self._looked = False
        self._descent = self._recorded_descent()

    def step(self, batch: Batch, spec: StepSpec) -> StepResult:
        """Train on one batch, this rank's share; where the loss is not finite the weights are left as they were."""
        x = self._noisy(batch, spec)
        found = self._perturb(x, batch, spec)
        self.network.train()
        self.optimiser.zero_grad()
        loss, logits, taken = self._descend(x, found, batch, spec)
        add_up_gradients(self.network, self.ranks)
        self._clip()
        # The one time that a step waits for an accelerator.
        *sums, bad = self._sums(loss, logits, found, batch).tolist()
        finite = bad == 0 and all(map(math.isfinite, sums))
        before = [p.grad.clone() for p in self._weights() if p.grad is not None] if spec.norms else []
        if finite:
            self.optimiser.step(spec.lr)
        if spec.norms:
            taken["grad_cosine_similarity"] = self._cosine(before, batch, x, spec) if finite else float("nan")
        return StepResult(dict(zip(SUMS, sums, strict=True)), finite, taken)

    def _descend(
        self, x: Tensor, found: Attacked, batch: Batch, spec: StepSpec
    ) -> tuple[Loss, tuple[Tensor, Tensor], dict[str, float]]:
        """Set the gradients by the weights: the loss, both logits and the lengths that were wanted."""
        if self._descent is not None and not spec.norms and len(batch.y) == spec.total:
            replayed = self._descent(x, found.x, batch.y, spec.beta)
            if replayed is not None:
                return *replayed, {}
        with moved(self.network, self._awp(x, found, batch, spec)):
            loss, logits = self._loss(x, found, batch, spec)
            return loss, logits, self._backward(loss, len(batch.y) / spec.total, spec.norms)

    def _recorded_descent(self) -> RecordedDescent | None:
        """Where the device records graphs, and a step is made of these passes alone."""
        kind = GRAPHS.get(torch.device(self.settings.device).type)
        execution = resolve_execution(self.settings.execution, torch.device(self.settings.device))
        plain = self.ranks.world == 1 and not self.settings.awp and self.settings.method != "pgd-at"
        return (
            RecordedDescent(self.network, self._outer, kind)
            if kind and plain and execution != "eager"
            else None
        )

    def _weights(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def _clip(self) -> None:
        """Shorten the gradient of all weights together to `clip`, where that is wanted."""
        gradients = [weight.grad for weight in self._weights() if weight.grad is not None]
        if self.settings.clip:
            length = torch.stack(torch._foreach_norm(gradients)).norm()
            torch._foreach_mul_(gradients, (self.settings.clip / length.clamp_min(1e-12)).clamp_max(1.0))

    def _noisy(self, batch: Batch, spec: StepSpec) -> Tensor:
        if not spec.noise:
            return batch.x
        draws = Draws(self.settings.seed, "healing").normal(batch.ids, spec.number, batch.x[0].numel())
        return batch.x + spec.noise * draws.reshape(batch.x.shape)

    def _perturb(self, x: Tensor, batch: Batch, spec: StepSpec) -> Attacked:
        with frozen(self.network):
            ascent = Ascent(self.settings.inner, spec.inner, spec.far)
            return attack(
                model=self._current(x), x=x, y=batch.y, ids=batch.ids, step=spec.number,
                seed=self.settings.seed, ascent=ascent,
            )  # fmt: skip

    def passes(self, x: Tensor) -> None:
        """A forward and a backward pass as the inner attack makes them; nothing is changed by it."""
        with frozen(self.network):
            rate(self._current(x), x)

    def _current(self, x: Tensor) -> Model:
        """The network as it is now, in the fastest form that there is of it."""
        if not self._looked:
            self._looked = True
            self._live = self._live_form(x[:8])
            if self._live is not None:
                form = self._live.graph
                self._passes = execute(form, x.device, self.settings.execution, any_size=False)
        if self._live is not None:
            self._live.refresh()
        return self._passes

    def _live_form(self, sample: Tensor) -> LiveForm | None:
        network = nn.Sequential(ChannelsLast(), self.network.normalise, self.network.network)
        auto = self.settings.precision == "auto" and has_bf16(sample.device)
        live = None
        if auto or self.network.half_precision:
            live = live_form(network, sample, torch.bfloat16, WORTH_HALF if auto else 0)
        if live is None and not self.network.half_precision:
            live = live_form(network, sample)
        return live

    def _loss(
        self, x: Tensor, found: Attacked, batch: Batch, spec: StepSpec
    ) -> tuple[Loss, tuple[Tensor, Tensor]]:
        """The loss and both logits; two passes, as published: batch norm sees clean and adversarial apart."""
        if self.settings.method != "pgd-at":
            return self._outer(x, found.x, batch.y, spec.beta)
        adversarial = self.network(found.x).float()
        loss = LOSSES[self.settings.method](found.clean, adversarial, batch.y, spec.beta)
        return loss, (found.clean.detach(), adversarial.detach())

    def _outer(
        self, x: Tensor, adversarial: Tensor, y: Tensor, beta: float | Tensor
    ) -> tuple[Loss, tuple[Tensor, Tensor]]:
        clean, other = self.network(x).float(), self.network(adversarial).float()
        loss = LOSSES[self.settings.method](clean, other, y, beta)
        return loss, (clean.detach(), other.detach())

    def _awp(self, x: Tensor, found: Attacked, batch: Batch, spec: StepSpec) -> dict[str, Tensor]:
        if not self.settings.awp:
            return {}
        with same_buffers(self.network):
            loss, _ = self._loss(x, found, batch, spec)
            (loss.total * len(batch.y)).backward()
        add_up_gradients(self.network, self.ranks)
        named = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        by = perturbation(named, self.network, self.settings.awp)
        self.optimiser.zero_grad()
        return by

    def _backward(self, loss: Loss, share: float, norms: bool) -> dict[str, float]:
        """Gradients of this rank's share of the loss; with `norms` each term's alone, for their lengths."""
        if not norms:
            (loss.total * share).backward()
            return {}
        weights = self._weights()
        lengths = {}
        parts = []
        for name, term in (("ce_norm", loss.clean), ("kl_norm", loss.robust)):
            if term.requires_grad:
                gradients = torch.autograd.grad(term * share, weights, retain_graph=True, allow_unused=True)
                parts.append(
                    [torch.zeros_like(w) if g is None else g for g, w in zip(gradients, weights, strict=True)]
                )
            else:
                parts.append([torch.zeros_like(w) for w in weights])
            flat = self.ranks.add_up(torch.cat([g.reshape(-1) for g in parts[-1]]))
            lengths[name] = float(flat.norm())
        for weight, first, second in zip(weights, *parts, strict=True):
            weight.grad = first + second
        total = self.ranks.add_up(torch.cat([w.grad.reshape(-1) for w in weights if w.grad is not None]))
        return {"w_grad_norm": float(total.norm())} | lengths

    def _cosine(self, before: list[Tensor], batch: Batch, x: Tensor, spec: StepSpec) -> float:
        """Equation 7: the full loss's gradient after the step, with the maximum found anew, against that before."""
        found = self._perturb(x, batch, spec)
        self.network.train()
        with same_buffers(self.network):
            loss, _ = self._loss(x, found, batch, spec)
            after = torch.autograd.grad(loss.total * len(batch.y), self._weights(), allow_unused=True)
        flat = self.ranks.add_up(torch.cat([g.reshape(-1) for g in after if g is not None]))
        old = torch.cat([gradient.reshape(-1) for gradient in before])
        return (
            float(torch.nn.functional.cosine_similarity(flat, old, dim=0)) if len(flat) == len(old) else 0.0
        )

    def _sums(self, loss: Loss, logits: tuple[Tensor, Tensor], found: Attacked, batch: Batch) -> Tensor:
        """`SUMS` over all ranks, and at the end how many ranks met a value that is not finite."""
        count = len(batch.y)
        right = [(item.argmax(1) == batch.y).sum() for item in logits]
        bad = ~(found.finite & loss.total.detach().isfinite())
        values = [
            torch.as_tensor(count, device=batch.y.device),
            *(term.detach() * count for term in (loss.total, loss.clean, loss.robust)),
            *right,
            found.fosc.sum(),
            found.sgcs.sum(),
            bad,
        ]
        return self.ranks.add_up(in_double(torch.stack([value.float() for value in values])))
