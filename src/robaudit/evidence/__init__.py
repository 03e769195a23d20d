"""What an audit found, example by example, and the file it is kept in."""

from robaudit.evidence.adversarial import adversarial_images, one_each
from robaudit.evidence.ball import inside, seal
from robaudit.evidence.codec import WITNESS_LEVELS, decode_image, decode_witness, encode_image, encode_witness
from robaudit.evidence.consistency import contradictions, doubtful, full_steps
from robaudit.evidence.evidence import (
    SCHEMA,
    SCOUT,
    SCOUT_NEAR,
    SCOUT_TARGETED,
    SCOUTS,
    AttackRecord,
    Attacks,
    Evidence,
    Header,
    Outcome,
)
from robaudit.evidence.identity import same_model
from robaudit.evidence.rows import ExampleRow, MetricsRow, OutcomeRow, WitnessRow
from robaudit.evidence.store import EvidenceFile
from robaudit.evidence.surface import Surface

__all__ = [
    "SCHEMA",
    "SCOUT",
    "SCOUTS",
    "SCOUT_NEAR",
    "SCOUT_TARGETED",
    "WITNESS_LEVELS",
    "AttackRecord",
    "Attacks",
    "Evidence",
    "EvidenceFile",
    "ExampleRow",
    "Header",
    "MetricsRow",
    "Outcome",
    "OutcomeRow",
    "Surface",
    "WitnessRow",
    "adversarial_images",
    "contradictions",
    "decode_image",
    "decode_witness",
    "doubtful",
    "encode_image",
    "encode_witness",
    "full_steps",
    "inside",
    "one_each",
    "same_model",
    "seal",
]
