"""One sentence for each word that a report uses, and what is usual of a number."""

from __future__ import annotations

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
#: What honest models have, from `assets/references.json` and docs/results/causes.md: (metric, from, to, in words).
USUAL_FOSC, USUAL_SGCS = 0.60, 0.25


def convergence_words(fosc_normalised: float, sgcs: float) -> str:
    """What is usual of FOSC and SGCS, and whether these are."""
    said = []
    said.append("FOSC is usual" if fosc_normalised <= USUAL_FOSC else "FOSC is high: PGD-10 stopped early")
    said.append("SGCS is usual" if sgcs >= USUAL_SGCS else "SGCS is low: its steps disagree")
    return (
        f"{'; '.join(said)} (honest models: normalised FOSC below {USUAL_FOSC:g}, SGCS above {USUAL_SGCS:g})"
    )
