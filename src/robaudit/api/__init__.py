"""The front door for Python: a model and images in, a `Result` out. `robaudit` itself gives out these names."""

from robaudit.api.autoattack import AutoAttack
from robaudit.api.entry import check, load
from robaudit.api.result import Adversarial, Result
from robaudit.api.settings import Settings

__all__ = ["Adversarial", "AutoAttack", "Result", "Settings", "check", "load"]
