"""The two checkpoints that the package ships."""

from pathlib import Path

import robaudit

ASSETS = Path(robaudit.__file__).parent / "assets"
ADVERSARIAL = ASSETS / "digits_adversarial.safetensors"
DISTILLED = ASSETS / "digits_distilled.safetensors"
