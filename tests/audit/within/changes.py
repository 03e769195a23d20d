"""Networks and evidence that are changed on purpose."""

from dataclasses import replace

import torch

from robaudit.inputs.classifier import Classifier
from robaudit.inputs.normalisation import parse_normalisation


def through(network, change):
    """A classifier that is another, and something done to its images and answers."""

    class Changed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return change(self.inner, x)

    return Classifier(Changed().eval(), parse_normalisation("none", 1), network.info)


def edited(evidence, name, rows, outcome, steps):
    """The evidence with other outcomes of an attack."""
    record = evidence.attacks[name]
    outcomes, counts = record.outcome.copy(), record.steps.copy()
    outcomes[rows], counts[rows] = outcome, steps
    changed = replace(record, outcome=outcomes, steps=counts)
    return replace(evidence, attacks=evidence.attacks | {name: changed})
