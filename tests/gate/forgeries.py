"""What somebody may do to the evidence of a gate, and what each of these is refused by."""

import numpy as np

from robaudit.evidence import EvidenceFile, decode_image, encode_image, encode_witness
from tests.gate.forging import edit_header, evidence_of, header, keep_examples, set_header, survive, tidy


def breaks_erased_as_in_the_issue(db, path):
    db.execute("UPDATE outcomes SET outcome = 0, witness = NULL WHERE outcome = 1 AND attack != 'pgd10'")


def breaks_erased_but_pgds(db, path):
    survive(db, path, "attack != 'pgd10'")


def all_breaks_erased(db, path):
    survive(db, path, "1")


def half_the_breaks_erased(db, path):
    survive(db, path, "id % 2 = 0")


def one_attack_erased(db, path):
    survive(db, path, "attack = 'square'")


def breaks_called_unanswered(db, path):
    survive(db, path, "1")
    db.execute("UPDATE outcomes SET outcome = 2 WHERE outcome = 0 AND attack != 'pgd10'")


def breaks_called_unanswered_at_once(db, path):
    breaks_called_unanswered(db, path)
    db.execute("UPDATE outcomes SET steps = 0 WHERE outcome = 2")


def survivors_called_unanswered(db, path):
    db.execute("UPDATE outcomes SET outcome = 2 WHERE outcome = 0 AND attack = 'fab-t'")


def pgd_left_out(db, path):
    for table in ("outcomes", "answers"):
        db.execute(f"DELETE FROM {table} WHERE attack = 'pgd10'")
    db.execute("DELETE FROM metrics")
    tidy(db)


def breaks_of_the_head_left_out(db, path):
    """What decided stays."""
    late = "SELECT id FROM examples WHERE position >= 40"
    db.execute(f"DELETE FROM outcomes WHERE outcome = 1 AND attack != 'pgd10' AND id IN ({late})")
    tidy(db)


def others_breaks_called_squares(db, path):
    theirs = "attack = 'apgd-t' AND id IN (SELECT id FROM outcomes WHERE outcome = 1 AND attack = 'apgd-t')"
    for table, columns in (("outcomes", "outcome, 150, 9, 0, witness"), ("answers", "prediction")):
        db.execute(
            f"INSERT OR REPLACE INTO {table} SELECT 'square', id, {columns} FROM {table} WHERE {theirs}"
        )


def another_class_of_the_witnesses(db, path):
    db.execute("UPDATE answers SET prediction = (prediction + 1) % 10")


def a_finding_that_blocks(db, path):
    item = {"code": "near-chance", "severity": "error", "message": "A guess is as good.", "advice": "None."}
    set_header(db, "findings", [item])


def survivors_of_another_model(db, path):
    other = evidence_of(path.parent.parent, "honest")
    with EvidenceFile.open(other) as file:
        rows = file.columns("outcomes", "attack", "id", "steps", "forwards", "backwards", "outcome")
    known = {key for (key,) in db.execute("SELECT id FROM examples WHERE label = prediction")}
    for attack, key, steps, forwards, backwards, outcome in rows:
        if outcome == 0 and key in known:
            db.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, 0, ?, ?, ?, NULL)",
                (attack, key, steps, forwards, backwards),
            )
    tidy(db)


def rows_of_two_audits_mixed(db, path):
    other = evidence_of(path.parent.parent, "honest")
    db.execute("ATTACH ? AS other", (str(other),))
    known = "SELECT id FROM examples WHERE label = prediction"
    db.execute(f"INSERT OR REPLACE INTO outcomes SELECT * FROM other.outcomes WHERE id IN ({known})")
    db.execute("INSERT OR REPLACE INTO images SELECT * FROM other.images")
    db.execute("INSERT OR REPLACE INTO answers SELECT * FROM other.answers")
    tidy(db)


def one_example_of_a_split_of_one(db, path):
    keep_examples(db, [0])
    edit_header(db, "data", n=1, total=1)
    set_header(db, "early_stopping", {})


def the_broken_examples_left_out(db, path):
    broken = {key for (key,) in db.execute("SELECT DISTINCT id FROM outcomes WHERE outcome = 1")}
    ids = [key for (key,) in db.execute("SELECT id FROM examples ORDER BY position")]
    keep_examples(db, [place for place, key in enumerate(ids) if key not in broken])
    set_header(db, "early_stopping", {})


def the_first_examples_only(db, path):
    keep_examples(db, range(20))
    set_header(db, "early_stopping", {})


def pixels_of_another_data_set(db, path):
    shape = tuple(header(db, "data")["shape"])
    for key, blob in db.execute("SELECT id, image FROM images").fetchall():
        pixels = np.rint(255 * (1 - decode_image(blob, shape))).astype(np.uint8)
        db.execute("UPDATE images SET image = ? WHERE id = ?", (encode_image(pixels), key))


def false_labels_and_clean_witnesses(db, path):
    with EvidenceFile.open(path) as file:
        rows, threat = file.witnesses(), file.header().plan.threat
        shape = tuple(file.header().data["shape"])
    for row in rows[:20]:
        image = decode_image(row.image, shape)
        witness = encode_witness(image, image, threat, 0)
        db.execute(
            "UPDATE examples SET label = (label + 1) % 10, prediction = (label + 1) % 10 WHERE id = ?",
            (row.id,),
        )
        db.execute("UPDATE outcomes SET witness = ? WHERE id = ? AND outcome = 1", (witness, row.id))


def clean_predictions_edited(db, path):
    """The model errs on some; now it does not, and withstands everything there."""
    wrong = [key for (key,) in db.execute("SELECT id FROM examples WHERE label != prediction")]
    assert wrong
    db.execute("UPDATE examples SET prediction = label")
    some = db.execute("SELECT id FROM outcomes WHERE attack = 'apgd-t' AND outcome = 0").fetchone()[0]
    for key in wrong:
        db.execute("DELETE FROM outcomes WHERE id = ?", (key,))
        db.execute(
            "INSERT INTO outcomes SELECT attack, ?, outcome, steps, forwards, backwards, witness FROM outcomes "
            "WHERE id = ? AND outcome = 0",
            (key, some),
        )


def bounds_edited(db, path):
    edit_header(db, "plan", bounds={"pgd_square": 0.9, "pgd_autoattack": 0.9})


def confidence_edited(db, path):
    edit_header(db, "plan", confidence=0.5)


def eps_edited(db, path):
    edit_header(db, "plan", threat={"norm": "Linf", "eps": 0.01})


def attacks_edited(db, path):
    edit_header(db, "plan", attacks=["pgd10", "square"])
    db.execute("DELETE FROM outcomes WHERE attack NOT IN ('pgd10', 'square', 'square-scout')")
    tidy(db)


def decision_edited(db, path):
    edit_header(db, "early_stopping", decided=1, examples=3)


def passes_of_the_decision_edited(db, path):
    edit_header(db, "early_stopping", decided=1, examples=64, forwards=10**9)


def the_scout_contradicted(db, path):
    db.execute(
        "INSERT OR REPLACE INTO outcomes SELECT 'square-scout', id, 0, 100, 100, 0, NULL FROM outcomes "
        "WHERE attack = 'square' AND outcome = 1 AND steps <= 100"
    )


def misclassified_examples_that_survive(db, path):
    db.execute(
        "UPDATE examples SET prediction = (label + 1) % 10 WHERE id IN (SELECT id FROM outcomes WHERE outcome = 1)"
    )


def square_breaks_called_pgds(db, path):
    """The gap vanishes where PGD-10 is said to find what Square found: each witness is a true one."""
    rows = db.execute(
        "SELECT s.id, s.witness, p.forwards, p.backwards FROM outcomes s JOIN outcomes p ON p.id = s.id "
        "WHERE p.attack = 'pgd10' AND p.outcome = 0 AND s.outcome = 1 GROUP BY s.id"
    ).fetchall()
    assert len(rows) > 10
    for key, witness, *_ in rows:
        db.execute(
            "UPDATE outcomes SET outcome = 1, witness = ?, steps = 10 WHERE id = ? AND attack = 'pgd10'",
            (witness, key),
        )
        answer = db.execute("SELECT prediction FROM answers WHERE id = ?", (key,)).fetchone()
        db.execute("INSERT OR REPLACE INTO answers VALUES ('pgd10', ?, ?)", (key, answer[0]))
    tidy(db)


def half_of_them_called_pgds(db, path):
    """Enough to bring the gap below its bound."""
    square_breaks_called_pgds(db, path)
    db.execute(
        "UPDATE outcomes SET outcome = 0, witness = NULL, steps = 11 "
        "WHERE attack = 'pgd10' AND steps = 10 AND id % 3 = 0"
    )
    tidy(db)


def the_hard_examples_not_run(db, path):
    """What the other attacks broke is said never to have been attacked by them."""
    db.execute(
        "DELETE FROM outcomes WHERE attack != 'pgd10' AND id IN (SELECT id FROM outcomes WHERE outcome = 1)"
    )
    tidy(db)


def an_unfinished_audit_of_survivors(db, path):
    the_hard_examples_not_run(db, path)
    set_header(db, "finished", False)


def a_witness_for_two_examples(db, path):
    first, second = [
        key for (key,) in db.execute("SELECT DISTINCT id FROM outcomes WHERE outcome = 1 LIMIT 2")
    ]
    blob = db.execute("SELECT witness FROM outcomes WHERE id = ? AND outcome = 1", (first,)).fetchone()[0]
    db.execute("UPDATE outcomes SET witness = ? WHERE id = ? AND outcome = 1", (blob, second))


def a_survivor_twice(db, path):
    """A survivor's place is given to an example that the model errs on, so that accuracy is higher."""
    good = db.execute("SELECT id FROM outcomes WHERE outcome = 0 AND attack = 'apgd-t'").fetchone()[0]
    bad = db.execute("SELECT id FROM outcomes WHERE outcome = 1").fetchone()[0]
    db.execute("DELETE FROM outcomes WHERE id = ?", (bad,))
    db.execute(
        "INSERT INTO outcomes SELECT attack, ?, outcome, steps, forwards, backwards, witness FROM outcomes "
        "WHERE id = ?",
        (bad, good),
    )
    db.execute("DELETE FROM images WHERE id = ?", (bad,))
    db.execute("DELETE FROM answers WHERE id = ?", (bad,))
    db.execute("UPDATE examples SET label = (label + 1) % 10 WHERE id = ?", (bad,))


def the_draws_made_random(db, path):
    edit_header(db, "plan", eot=20)


def the_reference_named(db, path):
    edit_header(db, "plan", engine="reference")


def a_smaller_split(db, path):
    edit_header(db, "data", total=64)


def another_normalisation(db, path):
    edit_header(db, "model", normalisation="0.5/0.5")


def another_structure(db, path):
    edit_header(db, "model", architecture="sequential:flatten fcK")


FORGERIES = [
    (square_breaks_called_pgds, "is said to be broken, but the attack does not break it"),
    (half_of_them_called_pgds, "is said to be broken, but the attack does not break it"),
    (the_hard_examples_not_run, "are not attacked to the end"),
    (an_unfinished_audit_of_survivors, "the audit is unfinished"),
    (a_witness_for_two_examples, "witnesses fail"),
    (a_survivor_twice, "labels are not the data set's"),
    (the_draws_made_random, "another policy (eot"),
    (the_reference_named, "another policy (engine"),
    (a_smaller_split, "examples are said to be audited"),
    (another_normalisation, "is not the model of this evidence"),
    (another_structure, ""),
    (breaks_erased_as_in_the_issue, "fewer steps than the plan has"),
    (breaks_erased_but_pgds, "is said to survive, but the attack breaks it"),
    (all_breaks_erased, "is said to survive, but the attack breaks it"),
    (half_the_breaks_erased, "is said to survive, but the attack breaks it"),
    (one_attack_erased, "is said to survive, but the attack breaks it"),
    (breaks_called_unanswered, "is said to have met no number, but the attack breaks it"),
    (breaks_called_unanswered_at_once, "said to have met no number, before its first step"),
    (survivors_called_unanswered, "is said to have met no number, but it survives the attack"),
    (pgd_left_out, "are not attacked to the end"),
    (breaks_of_the_head_left_out, "every attack was to be run on the first 50 examples"),
    (others_breaks_called_squares, "is said to be broken, but the attack does not break it"),
    (another_class_of_the_witnesses, "does not take its witness for class"),
    (a_finding_that_blocks, "near-chance is said to be found, and is not"),
    (survivors_of_another_model, "is said to survive, but the attack breaks it"),
    (rows_of_two_audits_mixed, "the model classifies it correctly"),
    (one_example_of_a_split_of_one, "data: "),
    (the_broken_examples_left_out, "not those that this seed and limit choose"),
    (the_first_examples_only, "do not settle it"),
    (pixels_of_another_data_set, "is not the data set's"),
    (false_labels_and_clean_witnesses, "labels are not the data set's"),
    (clean_predictions_edited, "is not the model's"),
    (bounds_edited, "another policy (bounds"),
    (confidence_edited, "another policy (confidence"),
    (eps_edited, "another policy (threat"),
    (attacks_edited, "another policy (attacks"),
    (decision_edited, "is said to be decided by 3 examples"),
    (passes_of_the_decision_edited, "decided after 1000000000 forwards"),
    (the_scout_contradicted, "the scout says it survived"),
    (misclassified_examples_that_survive, "nothing to break or to survive"),
]
