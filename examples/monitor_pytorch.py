"""A plain training loop on handwritten digits that is told when it becomes masked.

python examples/monitor_pytorch.py
"""

import torch
import torch.nn.functional as F

from robaudit.inputs import build_architecture, load_images
from robaudit.training import MaskingMonitor

train, held = (load_images("digits", split=split) for split in ("train", "test"))
x, y = train.float(), train.labels
model = build_architecture("digits-cnn", classes=10, in_channels=1, image_size=8)
optimiser = torch.optim.Adam(model.parameters(), 1e-3)

monitor = MaskingMonitor(model, held.float(), held.labels, eps=0.1)  # 1
for epoch in range(10):
    model.train()
    for rows in torch.randperm(len(y)).split(50):
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    reading = monitor.check()  # 2
    print(
        f"epoch {epoch + 1}: PGD-10 {reading.pgd10:.2f}, FOSC {reading.fosc_normalised:.2f}, SGCS {reading.sgcs:.2f}"
    )
    if reading.masked:  # 3
        print("  masked:", reading.reason)  # 4
