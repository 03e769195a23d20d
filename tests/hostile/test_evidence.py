"""Evidence from a stranger or a broken disk: refused in one sentence, or read as what it is."""

import json
import multiprocessing
import random
import sqlite3
import struct
import zlib
from types import SimpleNamespace

import pytest
import torch

from robaudit.audit.parts import check_examples
from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile
from robaudit.reports import REPORTS, open_case
from tests.evidence.edits import editing
from tests.hostile.printing import TEXT, printed
from tests.hostile.specimen import header, make_evidence


@pytest.fixture(scope="module")
def specimen(tmp_path_factory):
    path = tmp_path_factory.mktemp("specimen") / "a.evidence"
    make_evidence(path)
    return path.read_bytes()


def read(path):
    """Everything that reports are made of; the pictures too."""
    case = open_case(path, pictures=True)
    with EvidenceFile.open(path) as file:
        witnesses = file.witnesses()
    return case.data, witnesses, [(p.attack, p.id, p.answer, p.adversarial.tobytes()) for p in case.pictures]


def flips(size, count):
    """Bits all over a file of `size` bytes: evenly and at random."""
    draws = random.Random(0)
    even = [(place, place % 8) for place in range(0, size, max(2 * size // count, 1))]
    return even + [(draws.randrange(size), draws.randrange(8)) for _ in range(count - len(even))]


def each_flip_is_noticed(specimen, path, places):
    path.write_bytes(specimen)
    right = read(path)
    noticed = 0
    for place, bit in places:
        data = bytearray(specimen)
        data[place] ^= 1 << bit
        path.write_bytes(data)
        try:
            assert read(path) == right, f"bit {bit} of byte {place} changes the report"
        except RobauditError as error:
            noticed += 1
            assert "delete" not in str(error)
    return noticed


def test_a_flipped_bit_is_noticed_or_changes_nothing(specimen, tmp_path):
    places = flips(len(specimen), 300)
    assert each_flip_is_noticed(specimen, tmp_path / "a.evidence", places) > 50


@pytest.mark.heavy
def test_every_flipped_bit_is_noticed_or_changes_nothing(specimen, tmp_path):
    places = [(place, place % 8) for place in range(len(specimen))]
    each_flip_is_noticed(specimen, tmp_path / "a.evidence", places)


def _start(path, gate, answers):
    gate.wait()
    try:
        with EvidenceFile.create(path, header()):
            answers.put("")
            gate.wait()  # it holds the file until all have tried
    except RobauditError as error:
        answers.put(str(error))
        gate.wait()


@pytest.mark.parametrize("empty", [False, True])
def test_of_several_that_start_at_once_one_wins_and_the_others_say_so(tmp_path, empty):
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        path = tmp_path / f"{turn}.evidence"
        if empty:
            path.touch()
        gate, answers = context.Barrier(4), context.Queue()
        processes = [context.Process(target=_start, args=(path, gate, answers)) for _ in range(4)]
        for process in processes:
            process.start()
        found = sorted(answers.get(timeout=30) for _ in processes)
        for process in processes:
            process.join(30)
        assert found[0] == ""
        assert all("another audit is writing it" in text for text in found[1:]), found
        assert [item.name for item in tmp_path.iterdir() if item.suffix == ".part"] == []
        EvidenceFile.create(path, header()).close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE header SET value = '\"robaudit/2\"' WHERE key = 'schema'",
        "INSERT INTO header VALUES ('recomputed', '[]')",
        "CREATE TABLE recomputed (id INTEGER PRIMARY KEY)",
        "PRAGMA user_version = 2",
    ],
)
@pytest.mark.parametrize("version", ["99.1", "1.0.0"])
def test_evidence_of_a_later_version_is_refused_with_that_reason(specimen, tmp_path, statement, version):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    with editing(path) as db:
        db.execute(
            "UPDATE header SET value = json_set(value, '$.robaudit', ?) WHERE key = 'versions'", (version,)
        )
    with editing(path) as db:
        db.execute(statement)
    if "user_version" in statement:  # which `editing` writes again
        data = bytearray(path.read_bytes())
        data[60:64] = struct.pack(">I", 2)
        path.write_bytes(data)
    with pytest.raises(RobauditError, match=r"later version of robaudit \('" + version):
        EvidenceFile.open(path)


@pytest.mark.parametrize("kept", ["digest", "version"])
def test_a_digest_that_was_taken_away_is_missed(specimen, tmp_path, kept):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    with sqlite3.connect(path) as db:
        if kept == "version":
            db.execute("DELETE FROM header WHERE key = 'digest'")
        else:
            db.execute("PRAGMA user_version = 0")
            db.execute("UPDATE outcomes SET steps = steps + 1")
    db.close()
    with pytest.raises(RobauditError, match=r"digest is missing|not those that were written"):
        EvidenceFile.open(path)


VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 10**30, 1e308, -1.5, 0.5, float("nan"), float("inf"), "", "x", TEXT,
    "0", "\ud800", "a" * 5_000_000, [], [[]], {}, {"a": 1}, [1, 2], [1, 8, 8], [1, 1 << 40, 1 << 40], [1, 60000, 60000],
    [-1, 8, 8], [0, 0, 0], [TEXT] * 10,
]  # fmt: skip


def places(value, where=()):
    """Every place in a header, as paths of keys."""
    yield where
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*where, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield from places(item, (*where, number))


def put(value, where, new):
    if not where:
        return new
    changed = value.copy()
    changed[where[0]] = put(value[where[0]], where[1:], new)
    return changed


def in_the_header(fields):
    for key, value in fields.items():
        for where in places(value):
            for number, new in enumerate(VALUES):
                text = json.dumps(put(value, where, new))
                name = f"{key}{list(where)}={number}"
                yield name, [("UPDATE header SET value = ? WHERE key = ?", (text, key))]
        yield f"{key} absent", [("DELETE FROM header WHERE key = ?", (key,))]
        for text in ("[" * 100_000, "1" * 5000, "", "nul", b"\xff\xfe", '"\\ud800"', "{" * 50, "1e999"):
            yield f"{key} is {text[:9]!r}", [("UPDATE header SET value = ? WHERE key = ?", (text, key))]
    yield "another field", [("INSERT INTO header VALUES (?, '1')", (TEXT,))]


COLUMNS = {
    "examples": ("position", "id", "label", "prediction"),
    "images": ("id", "image"),
    "metrics": ("id", "fosc", "fosc_normalised", "sgcs", "zero_gradients"),
    "outcomes": ("attack", "id", "outcome", "steps", "forwards", "backwards", "witness"),
    "answers": ("attack", "id", "prediction"),
}


def in_the_rows():
    bomb = zlib.compress(bytes(20_000_000), 9)
    values = [
        None, -1, 4, 9, 2**63 - 1, -(2**63), 1.5, "x", TEXT, "5", b"", b"u", b"f" + bomb, b"u" + bomb, 1e308,
        float("inf"), struct.pack("<Bd", 15, -0.1) + zlib.compress(bytes(64)),
        struct.pack("<Bd", 1, 1e308) + zlib.compress(b"\xff" * 16), struct.pack("<Bd", 0, 0.0) + bomb,
        struct.pack("<Bd", 15, float("nan")) + zlib.compress(bytes(64)),
        struct.pack("<Bd", 0, 0.0) + zlib.compress(struct.pack("<f", float("nan")) * 64),
        b"f" + zlib.compress(struct.pack("<f", 7.0) * 64),
    ]  # fmt: skip
    for table, columns in COLUMNS.items():
        for column in columns:
            for number, value in enumerate(values):
                for which in ("", f" WHERE rowid = (SELECT min(rowid) FROM {table})")[
                    : 2 if table in {"examples", "images", "metrics"} else 1
                ]:
                    yield (
                        f"{table}.{column}={number}{which[:6]}",
                        [(f"UPDATE OR IGNORE {table} SET {column} = ?{which}", (value,))],
                    )
        yield f"{table} empty", [(f"DELETE FROM {table}", ())]


def in_the_schema():
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x, x, 1, 1 FROM c"
    for table, columns in COLUMNS.items():
        listed = ", ".join(columns)
        yield f"{table} untyped", [
            (f"CREATE TABLE t AS SELECT * FROM {table}", ()), (f"DROP TABLE {table}", ()),
            (f"ALTER TABLE t RENAME TO {table}", ()),
        ]  # fmt: skip
        yield (
            f"{table} a view",
            [
                (f"ALTER TABLE {table} RENAME TO t", ()),
                (f"CREATE VIEW {table} AS SELECT {listed} FROM t", ()),
            ],
        )
        yield f"{table} indexed", [(f"CREATE INDEX i ON {table} ({columns[1]})", ())]
        yield (
            f"{table} trigger",
            [(f"CREATE TRIGGER g AFTER INSERT ON {table} BEGIN DELETE FROM header; END", ())],
        )
        yield f"{table} grown", [(f"ALTER TABLE {table} ADD COLUMN more", ())]
        yield f"{table} generated", [(f"ALTER TABLE {table} ADD COLUMN more AS (hex(randomblob(9)))", ())]
    yield (
        "endless",
        [
            ("DROP TABLE examples", ()),
            (f"CREATE VIEW examples (position, id, label, prediction) AS {endless}", ()),
        ],
    )
    yield "virtual", [("CREATE VIRTUAL TABLE f USING fts5(x)", ())]
    yield "names", [('CREATE TABLE "a\x1b[31m" (x)', ())]
    yield "million", [("INSERT INTO examples SELECT x + 1000, x + 100000, 1, 1 FROM (WITH RECURSIVE c(x) AS "
                       "(SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 20000) SELECT x FROM c)", ())]  # fmt: skip


def in_the_master():
    """The schema's own table, written by hand: what it says of a table is not what the table is."""
    allow = ("PRAGMA writable_schema = 1", ())
    for table in COLUMNS:
        for what, change in {
            "strict": "sql = sql || ' STRICT'", "with a comment": "sql = replace(sql, '(', '( /* x */ ')", "of other types": "sql = replace(sql, 'INTEGER', 'TEXT')",
            "collated": "sql = replace(sql, 'INTEGER', 'INTEGER COLLATE NOCASE')", "checked": "sql = replace(sql, ')', ', CHECK (hex(zeroblob(1000000)) > 1))')",
            "with a default": "sql = replace(sql, ')', ', more DEFAULT (random()))')", "a view": "type = 'view'", "of another name": "name = upper(name)",
            "of another table": "tbl_name = 'header'", "at the first page": "rootpage = 1", "nowhere": "rootpage = 0", "beyond": "rootpage = 99999999",
            "in the header's place": "rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'header')", "no text": "sql = NULL", "a program": "sql = 'CREATE VIEW x AS SELECT load_extension(1)'",
        }.items():  # fmt: skip
            yield (
                f"{table} {what}",
                [allow, (f"UPDATE sqlite_master SET {change} WHERE name = '{table}'", ())],
            )
    yield "statistics", [("ANALYZE", ())]
    yield "another program's", [("PRAGMA application_id = 7", ())]
    yield (
        "counted",
        [
            ("CREATE TABLE c (x INTEGER PRIMARY KEY AUTOINCREMENT)", ()),
            ("INSERT INTO c VALUES (1)", ()),
            ("DROP TABLE c", ()),
        ],
    )


def numbers_of_the_file():
    """(where, bytes) in the 100 bytes that SQLite's own header has."""
    wide = [0, 1, 2, 3, 5, 0x7FFFFFFF, 0xFFFFFFFF]
    yield from (
        (at, value.to_bytes(4, "big"))
        for at in (24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 68, 92, 96)
        for value in wide
    )
    yield from ((16, value.to_bytes(2, "big")) for value in (0, 1, 2, 256, 512, 1024, 32768, 0xFFFF))
    yield from ((at, bytes([value])) for at in (18, 19, 20, 21, 22, 23) for value in (0, 3, 64, 255))


def test_numbers_of_the_files_own_header(specimen, tmp_path):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    right = read(path)
    for at, value in numbers_of_the_file():
        path.write_bytes(specimen[:at] + value + specimen[at + len(value) :])
        try:
            assert read(path) == right, (at, value)
        except RobauditError as error:
            assert "delete" not in str(error)
            assert "\n" not in str(error)


def cases():
    fields = {key: json.loads(json.dumps(value)) for key, value in _header_fields().items()}
    return [*in_the_header(fields), *in_the_rows(), *in_the_schema(), *in_the_master()]


def _header_fields():
    from robaudit.evidence.identity import to_rows

    return {key: json.loads(value) for key, value in to_rows(header())}


def survives(specimen, path, case):
    """What is wrong with how a changed file is read; empty where it is refused in a line, or reads and is shown."""
    name, statements = case
    path.write_bytes(specimen)
    try:
        with editing(path) as db:
            for statement, values in statements:
                db.execute(statement, values)
    except (sqlite3.Error, UnicodeEncodeError):
        return ""  # no such file can be
    try:
        shown = open_case(path, pictures=True, unfinished=True)
        for form, make in REPORTS.items():
            if faults := printed(form, make(shown)):
                return f"{name} as {form}: {faults}"
        with EvidenceFile.open(path) as file:
            file.rows()
    except RobauditError as error:
        text = str(error)
        return "" if text.startswith(str(path)) and "delete" not in text else f"{name}: {text[:200]}"
    except Exception as error:
        return f"{name}: {type(error).__name__}: {str(error)[:200]}"
    return ""


def test_a_part_of_the_changes_to_every_field_row_and_table(specimen, tmp_path):
    chosen = cases()[::40]
    wrong = [fault for case in chosen if (fault := survives(specimen, tmp_path / "a.evidence", case))]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:30])


@pytest.mark.heavy
def test_every_change_to_every_field_row_and_table(specimen, tmp_path):
    chosen = cases()
    assert len(chosen) >= 1000
    wrong = [fault for case in chosen if (fault := survives(specimen, tmp_path / "a.evidence", case))]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:30])


def test_a_finding_that_nobody_knows_is_refused_by_every_command(specimen, tmp_path, capsys):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    findings = [{"code": "from-the-future", "severity": "note", "message": "x", "advice": "y"}]
    with editing(path) as db:
        db.execute("UPDATE header SET value = ? WHERE key = 'findings'", (json.dumps(findings),))
    for command in (["report", str(path)], ["compare", str(path), str(path)]):
        assert run(command) == 2
        error = capsys.readouterr().err
        assert "'from-the-future': is not known to this version" in error
        assert "should not happen" not in error


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path):
    (tmp_path / "a.evidence").symlink_to(tmp_path / "planted")
    with pytest.raises(RobauditError, match="could not be written"):
        EvidenceFile.create(tmp_path / "a.evidence", header())
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("probes", {"examples": 48, "before_pgd10": 0.5}), ("probes", {"examples": 48, "pgd10": 0.5, "before_pgd10": 0.5, "sgcs": 1}),
        ("probes", {"examples": 1e300, "saturated": 1e300}), ("probes", {"examples": 48, "pgd10_x0.25": 1e6}), ("probes", {"noise": -0.1}),
        ("probes", {"pgd10_margin": 0.1}), ("early_stopping", {"decided": 5}), ("early_stopping", {"decided": 5, "examples": 3}),
    ],
)  # fmt: skip
def test_numbers_that_stand_together_are_missed(specimen, tmp_path, key, value):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    with editing(path) as db:
        db.execute("INSERT OR REPLACE INTO header VALUES (?, ?)", (key, json.dumps(value)))
    with pytest.raises(RobauditError, match=f"damaged one \\({key}"):
        open_case(path)


@pytest.mark.parametrize(
    "change",
    ["id = id + 1000", "label = (label + 1) % 10", "position = position + 40", "id = id + 1 WHERE id = 7", "position = -1 WHERE id = 7"],
)  # fmt: skip
def test_an_audit_of_other_examples_is_not_gone_on_with(specimen, tmp_path, change):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    with EvidenceFile.open(path) as file:
        found = file.read()
        images = SimpleNamespace(ids=torch.from_numpy(found.ids), labels=torch.from_numpy(found.labels))
        check_examples(file, images)
    with editing(path) as db:
        db.execute(f"UPDATE examples SET {change}")
    with EvidenceFile.open(path) as file, pytest.raises(RobauditError, match="other examples than these"):
        check_examples(file, images)


@pytest.mark.parametrize("key", ["'abc'", "7.5", "-3"])
def test_rows_of_something_else_than_examples_are_damage(specimen, tmp_path, key):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    with editing(path) as db:
        db.execute(f"INSERT INTO answers VALUES ('pgd10', {key}, 1)")
        db.execute("INSERT INTO answers VALUES ('pgd10', 5000, 1)")
    with pytest.raises(RobauditError, match="damaged one"):
        open_case(path)
