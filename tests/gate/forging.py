"""A forger's tools: whatever somebody may do to an evidence file with `sqlite3` and patience."""

import json

from robaudit.evidence import EvidenceFile
from robaudit.evidence.consistency import full_steps

#: Budgets that decide the shipped models in seconds.
BUDGET = {"apgd-steps": 10, "fab-steps": 5, "square-queries": 200, "targets": 2}


def header(db, key):
    return json.loads(db.execute("SELECT value FROM header WHERE key = ?", (key,)).fetchone()[0])


def set_header(db, key, value):
    db.execute("UPDATE header SET value = ? WHERE key = ?", (json.dumps(value), key))


def edit_header(db, key, **changes):
    set_header(db, key, header(db, key) | changes)


def survive(db, path, where):
    """Make survivors of some outcomes and leave nothing behind that a break leaves."""
    with EvidenceFile.open(path) as file:
        plan = file.header().plan
    for name in plan.attacks:
        steps = full_steps(plan, name, 10)
        db.execute(
            f"UPDATE outcomes SET outcome = 0, witness = NULL, steps = {steps} "
            f"WHERE outcome = 1 AND attack = '{name}' AND {where}"
        )
    db.execute("DELETE FROM outcomes WHERE attack = 'square-scout'")
    tidy(db)


def tidy(db):
    """Only broken examples have an image, and only breaks an answer."""
    db.execute("DELETE FROM images WHERE id NOT IN (SELECT id FROM outcomes WHERE outcome = 1)")
    db.execute(
        "DELETE FROM answers WHERE NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.outcome = 1 "
        "AND o.attack = answers.attack AND o.id = answers.id)"
    )
    set_header(db, "early_stopping", {})


def keep_examples(db, positions):
    """Only the examples at these places, which close ranks."""
    rows = db.execute("SELECT id, label, prediction FROM examples ORDER BY position").fetchall()
    db.execute("DELETE FROM examples")
    db.executemany(
        "INSERT INTO examples VALUES (?, ?, ?, ?)", [(k, *rows[place]) for k, place in enumerate(positions)]
    )
    for table in ("outcomes", "images", "metrics", "answers"):
        db.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM examples)")


def evidence_of(folder, name):
    return next((folder / "kept").glob(f"{name}-*.evidence"))
