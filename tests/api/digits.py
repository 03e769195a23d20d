"""Forty digits in several forms, and budgets of seconds for them."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

#: Budgets of seconds; every example, so that outcomes can be compared one by one.
SHORT = {
    "examples": "all", "apgd_steps": 4, "fab_steps": 2, "square_queries": 20, "targets": 2, "pgd_steps": 4,
}  # fmt: skip


def digits():
    """Bytes and labels of 40 digits, in a fixed order."""
    found = load_digits()
    return (found.images[-40:] * 15.9).astype(np.uint8), found.target[-40:].astype(np.int64)


class Pairs(Dataset):
    """Digits as a data set with class names; `read` counts what was asked for."""

    def __init__(self, bytes_too=False):
        self.pixels, self.labels = digits()
        self.classes = [str(k) for k in range(10)]
        self.read, self.bytes_too = [], bytes_too

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        self.read.append(row)
        if self.bytes_too:
            return self.pixels[row], int(self.labels[row])
        return torch.from_numpy(self.pixels[row : row + 1]).float() / 255, int(self.labels[row])


def outcomes(result):
    """By example of the data, whatever the order of the audit."""
    order = np.argsort(result.evidence.ids)
    return {name: record.outcome[order].tolist() for name, record in result.evidence.attacks.items()}
