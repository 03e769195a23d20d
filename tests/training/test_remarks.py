"""What a run says once: too few examples, chance, a measure that is too weak."""

import json

from robaudit.training.remarks import EPOCHS_IN_A_ROW, Remarks


def row(epoch, clean=0.9, weak=False, rugged=False):
    found = {"weak": weak, "rugged": rugged, "reason": "normalised FOSC 0.3 and SGCS 0.5" * rugged}
    return {"epoch": epoch, "clean": clean, "gap": 0.12 if weak else 0.02, "lr": 0.3} | found


def test_a_run_that_stays_at_chance_says_so_after_a_few_epochs_and_once():
    remarks = Remarks([20] * 10, lr=0.3)
    messages = [remarks.after(row(k, clean=0.1 + 0.01 * (k % 2)) | {"lr": 1e-5}) for k in range(1, 33)]
    assert [k for k, texts in enumerate(messages, 1) if texts] == [EPOCHS_IN_A_ROW]
    assert "smaller --lr (now 0.3)" in messages[EPOCHS_IN_A_ROW - 1][0]


def test_what_is_advised_at_chance_is_what_may_help():
    """A rate too small, or too few steps, are no reason for a smaller rate."""
    slow, few = Remarks([20] * 10, lr=1e-9), Remarks([20] * 10, lr=0.3, steps=8)
    said = [slow.after(row(k, clean=0.1)) for k in range(1, 5)]
    assert "larger --lr (now 1e-09)" in said[EPOCHS_IN_A_ROW - 1][0]
    said = [few.after(row(k, clean=0.1)) for k in range(1, 5)]
    assert "after 24 steps only: train for more epochs" in said[EPOCHS_IN_A_ROW - 1][0]


def test_few_examples_for_autoattack_are_told_at_the_start():
    assert "--confirm 10: of so few" in Remarks([20] * 10, confirmed=10).at_start()[0]
    assert not Remarks([20] * 10, confirmed=0).at_start()


def test_guessing_a_little_better_once_is_still_chance():
    """As with PGD-AT on digits at eps 0.3, rate 0.3: 13, 10, 16, 10, 10 % clean."""
    remarks = Remarks([20] * 10)
    messages = [bool(remarks.after(row(k, clean))) for k, clean in enumerate((0.13, 0.1, 0.16, 0.1, 0.1), 1)]
    assert messages == [False, False, False, True, False]


def test_what_learns_slowly_is_not_chance():
    remarks = Remarks([10] * 100)
    clean = [0.012, 0.015, 0.03, 0.02, 0.018, 0.05, 0.011]
    assert not any(remarks.after(row(k, value)) for k, value in enumerate(clean, 1))


def test_always_answering_the_commonest_class_is_chance():
    remarks = Remarks([900, 100])
    assert [bool(remarks.after(row(k, 0.905))) for k in range(1, 5)] == [False, False, True, False]


def test_a_weak_measure_is_named_once():
    remarks = Remarks([20] * 10)
    messages = [remarks.after(row(k, weak=True)) for k in range(1, 9)]
    assert sum(map(len, messages)) == 1
    assert "12.0 points more than the worst case" in messages[EPOCHS_IN_A_ROW - 1][0]


def test_a_gap_that_comes_and_goes_is_no_weak_measure():
    remarks = Remarks([20] * 10)
    assert not any(remarks.after(row(k, weak=k % 3 != 0)) for k in range(1, 32))


def test_a_rugged_surface_is_named_once_and_not_where_the_measure_is_weak():
    remarks = Remarks([20] * 10)
    messages = [remarks.after(row(k, rugged=k > 3)) for k in range(1, 12)]
    assert [k for k, texts in enumerate(messages, 1) if texts] == [3 + EPOCHS_IN_A_ROW]
    (text,) = messages[2 + EPOCHS_IN_A_ROW]
    assert "normalised FOSC 0.3 and SGCS 0.5" in text
    assert "only 2.0 points" in text
    weak = Remarks([20] * 10)
    said = [weak.after(row(k, weak=k < 4, rugged=k > 4)) for k in range(1, 12)]
    assert sum(map(len, said)) == 1


def test_too_few_examples_are_said_at_the_start():
    assert not Remarks([20] * 10).at_start()
    (few,) = Remarks([4, 5]).at_start()
    assert "only 9 examples are held out" in few
    assert "33 points either way" in few
    assert any("one class" in text for text in Remarks([0, 5]).at_start())


def test_a_resumed_run_does_not_say_it_again():
    one, two = Remarks([20] * 10), Remarks([20] * 10)
    for k in range(1, 5):
        one.after(row(k, 0.1, weak=True))
    two.load(json.loads(json.dumps(one.state())))
    assert not two.after(row(5, 0.1, weak=True))


def test_what_an_earlier_version_kept_is_read():
    remarks = Remarks([20] * 10)
    former = {"chance": [True] * 3, "weak": 3, "said_chance": True, "said_weak": True}
    remarks.load(remarks.completed(former))
    assert not remarks.after(row(4, 0.1, weak=True))
    assert "said_weak" not in remarks.state()


def test_nothing_is_said_of_chance_by_examples_that_cannot_tell():
    for labels in ([1], [0, 5], [4, 5]):
        remarks = Remarks(labels)
        assert not any(remarks.after(row(k, 0.0)) for k in range(1, 9))
    assert "only one example is held out" in Remarks([1]).at_start()[0]


def test_a_run_that_went_back_begins_to_count_anew():
    remarks = Remarks([20] * 10)
    for k in (1, 2):
        assert not remarks.after(row(k, 0.1))
    remarks.started_again()
    assert not remarks.after(row(3, 0.1))
    assert not remarks.after(row(4, 0.1))
    assert remarks.after(row(5, 0.1))
