"""The monitor as a callback of Lightning; `pip install lightning` first.

python examples/monitor_lightning.py
"""

import lightning
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from robaudit.inputs import build_architecture, load_images
from robaudit.training import MaskingMonitor


class Masking(lightning.Callback):
    """Checks after every epoch and logs what it finds; stop or heal the run where `masked` is 1."""

    def __init__(self, x, y, eps):
        self.x, self.y, self.eps = x, y, eps

    def on_fit_start(self, trainer, module):
        self.monitor = MaskingMonitor(module, self.x, self.y, self.eps)

    def on_train_epoch_end(self, trainer, module):
        reading = self.monitor.check()
        module.log_dict({name: float(getattr(reading, name)) for name in ("pgd10", "fosc", "sgcs", "masked")})


class Digits(lightning.LightningModule):
    """A small classifier."""

    def __init__(self):
        super().__init__()
        self.network = build_architecture("digits-cnn", classes=10, in_channels=1, image_size=8)

    def forward(self, x):
        return self.network(x)

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


if __name__ == "__main__":
    train, held = (load_images("digits", split=split) for split in ("train", "test"))
    loader = DataLoader(TensorDataset(train.float(), train.labels), batch_size=50, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=5,
        logger=False,
        enable_checkpointing=False,
        callbacks=[Masking(held.float(), held.labels, 0.1)],
    )
    trainer.fit(Digits(), loader)
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
