"""What an audit found, example by example, and the file it is kept in."""

from robaudit.evidence.adversarial import adversarial_images, one_each
from robaudit.evidence.ball import inside, seal
from robaudit.evidence.codec import WITNESS_LEVELS, decode_image, decode_witness, encode_image, encode_witness
from robaudit.evidence.consistency import contradictions, doubtful, full_steps
from robaudit.evidence.evidence import (
    SCHEMA,
    AttackRecord,
    Attacks,
    Evidence,
    Header,
    Outcome,
)
from robaudit.evidence.identity import same_model, within_wanted
from robaudit.evidence.rows import ExampleRow, MetricsRow, OutcomeRow, WitnessRow
from robaudit.evidence.scouts import (
    FIRST_QUERIES,
    LEAST_NEAR,
    MINIMUM,
    NEAREST,
    QUERIES,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTED,
    SCOUTS,
    begun,
    length_of,
    run_length,
)
from robaudit.evidence.store import EvidenceFile
from robaudit.evidence.surface import Surface

__all__ = [
    "FIRST_QUERIES",
    "LEAST_NEAR",
    "MINIMUM",
    "NEAREST",
    "QUERIES",
    "SCHEMA",
    "SCOUT",
    "SCOUTED",
    "SCOUTS",
    "SCOUT_DEEP",
    "SCOUT_EVERY",
    "SCOUT_MORE",
    "SCOUT_QUERIES",
    "SCOUT_TARGETED",
    "SCOUT_WIDE",
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
    "begun",
    "contradictions",
    "decode_image",
    "decode_witness",
    "doubtful",
    "encode_image",
    "encode_witness",
    "full_steps",
    "inside",
    "length_of",
    "one_each",
    "run_length",
    "same_model",
    "seal",
    "within_wanted",
]
