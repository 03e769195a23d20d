"""What Li et al., "Adversarial Robustness Overestimation and Instability in TRADES", report (Tables 1 and 3)."""

from __future__ import annotations

#: Columns of Table 1, by the names of `--attacks`.
COLUMNS = {
    "clean": "clean",
    "pgd10": "PGD-10",
    "autoattack": "AutoAttack",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "fab-t": "FAB",
    "square": "Square",
}
#: Table 1: CIFAR-100, beta 3, batch size 256, learning rate 0.1; percent.
TABLE1 = {
    "regular": (53.63, 24.41, 20.27, 23.93, 21.28, 21.67, 24.26),
    "unstable": (55.93, 28.72, 10.42, 19.24, 18.85, 19.20, 12.15),
}
#: Table 3: the same, mean and standard deviation over seeds; clean, PGD-10, AutoAttack and the gap between them.
TABLE3 = {
    "regular": ((53.42, 0.19), (24.40, 0.06), (20.09, 0.28), (4.31, 0.33)),
    "unstable": ((54.24, 1.02), (27.63, 1.33), (12.92, 3.44), (14.71, 4.55)),
    "fixed": ((52.90, 0.63), (24.50, 0.23), (19.99, 0.29), (4.51, 0.32)),
}
