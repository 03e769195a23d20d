"""`gate --verify` against forged evidence: each forgery is refused by what it is, and honest evidence passes."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest

from robaudit.cli import run
from robaudit.cli.gate_evidence import evidence_place
from robaudit.cli.policy import read_policies
from robaudit.evidence import EvidenceFile, decode_image, encode_image, encode_witness
from tests.evidence.edits import editing
from tests.gate.forging import BUDGET, edit_header, header, keep_examples, set_header, survive, tidy
from tests.shipped import ADVERSARIAL, DISTILLED

POLICY = "models = ['*.safetensors']\ndataset = 'digits'\nlimit = 64\nevidence = 'kept'\n"


def policy(budget=BUDGET, extra=""):
    return POLICY + extra + "[budget]\n" + "".join(f"{name} = {value}\n" for name, value in budget.items())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of the two shipped models, whose gate has made the evidence."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(ADVERSARIAL, folder / "honest.safetensors")
    shutil.copy(DISTILLED, folder / "masked.safetensors")
    (folder / "robaudit.toml").write_text(policy())
    run(["gate", "--policy", str(folder / "robaudit.toml")])
    return folder


@pytest.fixture
def project(made, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    return folder


def evidence_of(folder, name):
    return next((folder / "kept").glob(f"{name}-*.evidence"))


def verified(folder, name, capsys):
    """The exit code of `gate --verify` and what it prints."""
    capsys.readouterr()
    code = run(
        ["gate", "--policy", str(folder / "robaudit.toml"), "--verify", str(folder / f"{name}.safetensors")]
    )
    return code, capsys.readouterr().out


@pytest.mark.parametrize(("name", "code"), [("honest", {0, 3}), ("masked", {1})])
def test_honest_evidence_passes_and_what_was_done_again_is_said(name, code, project, capsys):
    found, out = verified(project, name, capsys)
    assert found in code
    assert "16 of " in out
    assert "survivors attacked again, seed " in out
    assert "(re-checked)" in out
    assert "all clean predictions" in out


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


@pytest.fixture
def drawn_alike(monkeypatch):
    """Draws that are always the same, and meet a forged pair: 16 of them miss a share of one in seven now and then."""
    monkeypatch.setattr("secrets.randbits", lambda _: 11)


@pytest.mark.parametrize(("forge", "says"), FORGERIES, ids=lambda item: getattr(item, "__name__", ""))
@pytest.mark.usefixtures("drawn_alike")
def test_a_forgery_is_refused_by_what_it_is(forge, says, project, capsys):
    path = evidence_of(project, "masked")
    with editing(path) as db:
        forge(db, path)
    code, out = verified(project, "masked", capsys)
    assert code == 2, out
    assert "could not audit" in out
    texts = out if says in out else all_failures(project, path, capsys)
    assert says in texts, texts


def all_failures(project, path, capsys):
    """The gate names the first thing that is wrong; `verify` all of them."""
    capsys.readouterr()
    model = str(project / "masked.safetensors")
    assert run(["verify", str(path), model, "--dataset", "digits", "--recompute", "16"]) == 2
    return capsys.readouterr().out


def test_evidence_written_from_nothing_is_found(project, capsys):
    """Every example right, every attack survived, every number plausible; and nobody ever attacked."""
    path = evidence_of(project, "masked")
    with editing(path) as db:
        survive(db, path, "1")
        have = {key for (key,) in db.execute("SELECT id FROM outcomes WHERE attack = 'square'")}
        every = [key for (key,) in db.execute("SELECT id FROM examples WHERE label = prediction")]
        some = next(iter(have))
        for name in ("square", "apgd-ce", "apgd-t", "fab-t", "pgd10"):
            for key in every:
                db.execute(
                    "INSERT OR IGNORE INTO outcomes SELECT attack, ?, 0, steps, forwards, backwards, NULL "
                    "FROM outcomes WHERE attack = ? AND id = ? AND outcome = 0",
                    (key, name, some),
                )
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "is said to survive" in out


def copied_for(project, text):
    """The evidence of the masked model, under the name that it would have for another policy."""
    source = evidence_of(project, "masked")
    (project / "robaudit.toml").write_text(text)
    target = evidence_place(project / "masked.safetensors", read_policies(project / "robaudit.toml")[0])
    shutil.copy(source, target)
    return target


def test_a_small_budget_called_a_large_one_is_refused(project, capsys):
    larger = BUDGET | {"square-queries": 5000, "apgd-steps": 100}
    target = copied_for(project, policy(larger))
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "another policy (budget" in out
    with editing(target) as db:
        edit_header(
            db, "plan", budget=header(db, "plan")["budget"] | {"square_queries": 5000, "apgd_steps": 100}
        )
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "fewer steps than the plan has" in out


def test_survivors_of_another_seed_are_not_this_ones(project, capsys):
    target = copied_for(project, policy(extra="seed = 1\n"))
    assert "another policy (seed" in verified(project, "masked", capsys)[1]
    with editing(target) as db:
        edit_header(db, "plan", seed=1)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "not those that this seed and limit choose" in out


def test_another_models_evidence_is_not_this_ones(project, capsys):
    honest, masked = evidence_of(project, "honest"), evidence_of(project, "masked")
    with editing(masked) as db:
        model = header(db, "model")
    shutil.copy(honest, masked)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "is not the model of this evidence" in out
    with editing(masked) as db:
        set_header(db, "model", model)
    code, out = verified(project, "masked", capsys)
    assert code == 2
    assert "witnesses fail" in out


@pytest.mark.parametrize("how", ["batch", "bf16", "threads"])
def test_honest_evidence_of_another_machine_passes(how, project, capsys, monkeypatch):
    """Another batch size, precision or number of threads: the outcomes are the same but for rounding."""
    from robaudit.engine import Tuning

    path = evidence_of(project, "masked")
    path.unlink()
    with monkeypatch.context() as patch:
        settings = {"batch": Tuning(3, 1), "threads": Tuning(16, 1, 2, 1)}
        if how in settings:
            patch.setattr("robaudit.audit.session.tune", lambda *_, **__: settings[how])
        words = ["--precision", "bf16"] if how == "bf16" else []
        arguments = [f"--{name}={value}" for name, value in BUDGET.items()]
        model = str(project / "masked.safetensors")
        common = ["--dataset", "digits", "--limit", "64", "--evidence", str(path)]
        assert run(["check", model, *common, *arguments, *words]) == 1, capsys.readouterr().err
    code, out = verified(project, "masked", capsys)
    assert code == 1, out
    assert "re-checked" in out


def test_a_policy_asks_for_more_or_for_none_and_that_is_said(project, capsys):
    target = project / "robaudit.toml"
    target.write_text(policy(extra="recompute = 0\n"))
    code, out = verified(project, "masked", capsys)
    assert code == 1
    assert "survivors attacked again" in out
    assert "none of " in out
    target.write_text(policy(extra="recompute = 40\n"))
    assert "40 of " in verified(project, "masked", capsys)[1]


def test_the_report_says_what_was_found_and_the_seed_finds_it_again(project, capsys, tmp_path):
    path, model = evidence_of(project, "masked"), project / "masked.safetensors"
    words = [
        "verify",
        str(path),
        str(model),
        "--dataset",
        "digits",
        "--recompute",
        "16",
        "--json",
        str(tmp_path / "v"),
    ]
    assert run(words) == 1
    out = capsys.readouterr().out
    assert "Had more than 25 % of them been forged, it would have been found with probability 0.99." in out
    first = json.loads((tmp_path / "v").read_text())["recomputed"]
    assert run([*words, "--recompute-seed", str(first["seed"])]) == 1
    again = json.loads((tmp_path / "v").read_text())["recomputed"]
    assert again["pairs"] == first["pairs"]
    assert run(words) == 1
    assert json.loads((tmp_path / "v").read_text())["recomputed"]["seed"] != first["seed"]
    capsys.readouterr()
    assert run(["verify", str(path), str(model)]) == 1
    assert "is the file's word" in capsys.readouterr().out
    assert run(["verify", str(path), str(model), "--recompute", "4"]) == 2


def test_the_reference_gives_a_second_opinion(project, capsys):
    path, model = str(evidence_of(project, "honest")), str(project / "honest.safetensors")
    words = ["verify", path, model, "--dataset", "digits", "--recompute", "4", "--engine", "reference"]
    assert run(words) in (0, 3)
    assert "by pyautoattack" in capsys.readouterr().out


def test_without_pyautoattack_that_is_said(project, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyautoattack", None)
    path, model = str(evidence_of(project, "honest")), str(project / "honest.safetensors")
    words = ["verify", path, model, "--dataset", "digits", "--recompute", "4", "--engine", "reference"]
    assert run(words) == 2
    assert "pip install pyautoattack" in capsys.readouterr().err


def missed(total, forged, pairs):
    """The probability that this many pairs, drawn without replacement, hold no forged one."""
    return math.comb(total - forged, pairs) / math.comb(total, pairs)


def test_every_pair_is_as_likely_to_be_drawn_as_any_other():
    """What a pass means is reckoned from that: the draws miss a forged share as often as they should."""
    from robaudit.audit import Recompute
    from robaudit.audit.recompute import draw

    seeds, pairs = 2000, 16
    everything = [(attack, key) for attack in ("apgd-ce", "fab-t", "square") for key in range(74)]
    drawn = Counter(pair for seed in range(seeds) for pair in draw(everything, Recompute(pairs, seed)))
    expected = seeds * pairs / len(everything)
    assert set(drawn) == set(everything)
    assert max(abs(count - expected) for count in drawn.values()) < 5 * math.sqrt(expected)
    for forged in ({pair for pair in everything if pair[0] == "square"}, set(everything[::6])):
        found = (
            sum(forged.isdisjoint(draw(everything, Recompute(pairs, seed))) for seed in range(seeds)) / seeds
        )
        share = missed(len(everything), len(forged), pairs)
        assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / seeds)


@pytest.mark.parametrize("pairs", [1, 4, 16, 44, 90])
@pytest.mark.parametrize("total", [100, 223, 5000, 50_000])
def test_what_a_pass_promises_holds_in_files_of_every_size(total, pairs):
    from robaudit.audit.recompute import Recomputation, Repeated

    found = Recomputation(tuple(Repeated("square", k, "stands") for k in range(pairs)), total, 0, "robaudit")
    least = math.floor(found.found_share * total) + 1  # the fewest forged pairs that are more than that share
    assert missed(total, least, pairs) <= 0.01


def test_what_rounding_decides_is_no_forgery():
    from robaudit.audit.recompute import Recomputation, Repeated

    def found(*outcomes, engine="robaudit"):
        pairs = tuple(Repeated("square", k, outcome) for k, outcome in enumerate(outcomes))
        return Recomputation(pairs, 100, 0, engine)

    assert not found(*["stands"] * 14, "close", "close").failures()
    assert found(*["stands"] * 13, "close", "close", "close").failures()
    assert found(*["stands"] * 15, "breaks").failures()
    assert found("stands").found_share == pytest.approx(0.99)
    assert found(*["stands"] * 16).found_share == pytest.approx(1 - 0.01 ** (1 / 16))
    assert Recomputation(found("stands").pairs, 1, 0, "robaudit").found_share == 0
