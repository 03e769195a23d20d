"""One sentence for each word that a report uses, and what is usual of a number."""

from __future__ import annotations

from robaudit.verdict import RUGGED_SGCS, UNCONVERGED_FOSC

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "PGD-10",
        "Ten steps of projected gradient descent from a random start, each along the sign of the loss's gradient: the "
        "usual test of robustness.",
    ),
    (
        "Square",
        "An attack that only asks for the model's answers and sees no gradient, so masking cannot mislead it.",
    ),
    ("AutoAttack", "The worst case of four attacks: APGD-CE, APGD-T, FAB-T and Square."),
    (
        "gap",
        "The robust accuracy that PGD-10 reports minus what a stronger attack leaves of the same examples.",
    ),
    (
        "FOSC",
        "How far PGD-10's last step is from a maximum of the loss within the ball; normalised, 0 is converged and 1 no "
        "better than the start.",
    ),
    (
        "SGCS",
        "The cosine similarity of the gradients' signs along PGD-10's way: near 1 where they agree, near 0 where the "
        "surface is rugged.",
    ),
    (
        "witness",
        "An adversarial image inside the ball that was re-checked in float32: proof of a break.",
    ),
    (
        "gradient masking",
        "Gradients that lead attacks astray though adversarial images exist.",
    ),
)
#: A share of gradients that are exactly zero above which FOSC says nothing.
_SILENT = 0.10


def convergence_words(fosc_normalised: float, sgcs: float, zero_gradients: float) -> str:
    """What is usual of FOSC and SGCS, and whether these are."""
    text = "FOSC is usual" if fosc_normalised <= UNCONVERGED_FOSC else "FOSC is high: PGD-10 stopped early"
    if zero_gradients > _SILENT:
        text = "FOSC is small only because gradients are zero"
    similar = "SGCS is usual" if sgcs >= RUGGED_SGCS else "SGCS is low: its steps disagree"
    return f"{text}; {similar} (honest models: normalised FOSC below {UNCONVERGED_FOSC:g}, SGCS above {RUGGED_SGCS:g})"
