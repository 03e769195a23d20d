"""Audit a network of your own from Python: `python examples/audit_from_python.py`."""

import tempfile
from importlib import resources
from pathlib import Path

from safetensors.torch import load_file

from robaudit.audit import audit
from robaudit.inputs import build_architecture, load_classifier, load_images, save_classifier
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import accuracy, judge

# Stands for your own training: any nn.Module that maps (N, C, H, W) in [0, 1] to logits.
ARCHITECTURE = "sequential:conv16k3p1 relu conv32k3s2p1 relu flatten fc64 relu fcK"
network = build_architecture(ARCHITECTURE, classes=10, in_channels=1, image_size=8)
with resources.as_file(resources.files("robaudit") / "assets" / "digits_distilled.safetensors") as path:
    network.load_state_dict(load_file(path))

with tempfile.TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "mine.safetensors"
    save_classifier(network, checkpoint, architecture=ARCHITECTURE, classes=10, input_shape=(1, 8, 8))

    images = load_images("digits", limit=100)
    classifier = load_classifier(str(checkpoint), images=images)
    plan = AuditPlan(
        ThreatModel("Linf", 0.1),
        limit=100,
        budget=Budget(apgd_steps=10, fab_steps=5, targets=2, square_queries=200),  # short, for the example
    )
    evidence = audit(classifier, images, plan, path=Path(folder) / "mine.evidence")

verdict = judge(evidence)
print(f"{verdict.outcome}: {verdict.summary}")
for name in ("clean", "pgd10", "square", "autoattack"):
    found = accuracy(evidence, name)
    if found:
        print(f"{name:12} {100 * found.value:5.1f} %  ({100 * found.low:.1f} to {100 * found.high:.1f})")
