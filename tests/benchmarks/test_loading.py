"""Two versions of this package side by side."""


def test_two_versions_take_turns_and_are_compared_round_by_round():
    from loading import in_turn

    spent = iter([2.0, 1.0, 6.0, 8.0, 10.0, 10.0])  # the machine slows down from round to round
    calls = []

    def of(name):
        return lambda: calls.append(name) or next(spent)

    assert in_turn(of("before"), of("now"), rounds=3) == "8.00 | 6.00 | 0.75"
    assert calls == ["before", "now", "now", "before", "before", "now"]


def test_one_network_costs_the_same_in_every_format(tmp_path, monkeypatch, capsys):
    import formats

    flags = f"--dataset digits --data-dir {tmp_path} --attacks pgd10 --limit 4 --rounds 1".split()
    checkpoint = "src/robaudit/assets/digits_adversarial.safetensors"
    monkeypatch.setattr("sys.argv", ["formats.py", checkpoint, *flags])
    formats.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.endswith("yes |")]
    assert [row[0] for row in rows] == ["| state dict", "| TorchScript", "| .pt2", "| ONNX"]
