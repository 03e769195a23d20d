"""From a model and images to evidence, and from evidence back to the model."""

from robaudit.audit.bars import progress_bars
from robaudit.audit.defaults import default_evidence
from robaudit.audit.header import another_model, expect_model
from robaudit.audit.helpers import with_helpers
from robaudit.audit.landscape import Window, measure_landscape
from robaudit.audit.preflight import first_logits, preflight
from robaudit.audit.progress import Progress, Silent
from robaudit.audit.recompute import CONFIDENCE, Recomputation, Recompute
from robaudit.audit.run import audit
from robaudit.audit.verify import Verification, verify

__all__ = [
    "CONFIDENCE",
    "Progress",
    "Recomputation",
    "Recompute",
    "Silent",
    "Verification",
    "Window",
    "another_model",
    "audit",
    "default_evidence",
    "expect_model",
    "first_logits",
    "measure_landscape",
    "preflight",
    "progress_bars",
    "verify",
    "with_helpers",
]
