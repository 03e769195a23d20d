"""Hostile TorchScript files: tricks by name, and mutations of a script's own code and objects."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from tests.hostile.harness import Case
from tests.hostile.programs import NUMBERS, rewritten, torchscript


def with_lines(lines: str) -> bytes:
    """The net's script with statements at the head of its forward function."""

    def change(name: str, data: bytes) -> bytes:
        text = data.decode() if name.endswith(".py") else ""
        if "class Net(" not in text:
            return data
        head = re.compile(r"(def forward\(.*?\) -> Tensor:\n)", re.DOTALL)
        return head.sub(
            lambda m: m[1] + "".join(f"    {line}\n" for line in lines.splitlines()), text
        ).encode()

    return rewritten(torchscript(), change)


_USED = "\nx = torch.add(x, torch.mul(torch.sum(y), 0.))"
#: Each is one statement or more; what is called y is used afterwards.
STATEMENTS = {
    "from_file": 'y = torch.from_file("{C}", True, 8)',
    "a space": 'y = torch. from_file("{C}", True, 8)',
    "save": 'torch . save(x, "{C}")',
    "getattr": 'f = getattr(torch, "from_file")\ny = f("{C}", True, 8)',
    "alias": 't = torch\ny = t.from_file("{C}", True, 8)',
    "ops": 'y = ops. aten. from_file("{C}", True, 8)',
    "split": 'y = torch.\\\n      from_file("{C}", True, 8)',
    "ops.prim": 'y = ops.prim.from_file("{C}", True, 8)',
    "operator": "y = ops.mine.run(x)",
    "class": "y = __torch__.torch.classes.mine.X()",
    "import": "import os",
    "exec": 'exec("1")',
    "open": 'y = open("{C}", "w")',
    "eval": 'y = eval("1")',
    "builtins": 'y = __builtins__["open"]("{C}", "w")',
    "dunder": "y = x.__class__.__mro__",
    "function": "y = self.forward.__globals__",
    "lambda": "y = (lambda: 1)()",
    "comprehension": "y = [i for i in [1]]",
    "fstring": 'y = f"{{x}}"',
    "walrus": "if (y := 1):\n  pass",
    "global": "global torch",
    "del": "del x",
    "try": "try:\n  pass\nexcept:\n  pass",
    "with": "with self:\n  pass",
    "decorator": "@torch\ndef f():\n  pass",
    "loop": "i = 0\nwhile True:\n  i = torch.add(i, 1)",
    "deep calls": "x = (self).forward(x, )",
    "huge": "y = torch.zeros([1099511627776])",
    "many": "y = torch.ones([67108864])\n" + "y = torch.cat([y, y])\n" * 9,
    "grow": "y = torch.ones([1048576])\nfor i in range(1000):\n  y = torch.cat([y, torch.ones([1048576])])",
    "keep": "y = [torch.ones([1048576])]\nfor i in range(3000):\n  _0 = torch.append(y, torch.ones([1048576]))",
    "list": "y = torch.mul([0], 1000000000000)",
    "text": 'y = torch.mul("a", 1000000000000)',
    "power": "y = torch.pow(10, 1000000000)",
    "tower": "y = 9\nfor i in range(60):\n  y = torch.mul(y, y)",
    "range": "y = torch.list(range(1000000000000))",
    "outer": "y = torch.matmul(torch.ones([131072, 1]), torch.ones([1, 131072]))",
    "divide": "y = torch.floor_divide(torch.full([1], -9223372036854775808, dtype=4), -1)",
    "remainder": "y = torch.remainder(torch.full([1], -9223372036854775808, dtype=4), torch.full([1], -1, dtype=4))",
    "zero": "y = torch.floor_divide(torch.full([1], 3, dtype=4), 0)",
    "plain zero": "y = torch.floordiv(1, 0)",
    "strides": "y = torch.as_strided(x, [64], [1], 100000000)",
    "sparse": "y = torch._sparse_coo_tensor_unsafe(x, x, [4])",
    "index": "y = torch.index_select(x, 3, torch.full([3], 99999999, dtype=4))",
    "rows": "y = torch.index_select(x, 3, torch.full([100000000], 0, dtype=4))",
    "weights": "y = torch.fill_((self.fc).weight, 1.)",
    "weights too": "y = torch.mul_((self.fc).bias, 3.)",
    "input": "y = torch.zero_(x)\nx = torch.add(x, 1)",
    "attribute": "self.fc = x",
    "seed": "_0 = torch.manual_seed(1)",
    "print": 'print("\\x1b]0;x\\x07\\n::error::x")',
    "raise": 'ops.prim.RaiseException("\\x1b[31m\\n::error::x", "A")',
    "names": "y = self.\u202eabc",
    "deep": "y = " + "(" * 5000 + "1" + ")" * 5000,
    "unary": "y = " + "-" * 90000 + "1",
    "ifs": "\n".join("  " * i + "if True:" for i in range(90)) + "\n" + "  " * 90 + "pass",
    "pool": "y = torch.adaptive_avg_pool2d(x, [65536, 65536])",
    "pad": 'y = torch.pad(x, [0, 1099511627776], "constant", 0.)',
    "kernel": "y = torch.max_pool2d(x, [0, 0], [0, 0], [0, 0], [0, 0], False)",
    "unfold": "y = torch.im2col(x, [4, 4], [1, 1], [30000, 30000], [1, 1])",
    "repeat": "y = torch.repeat_interleave(x, 1000000000000, 3)",
    "einsum": 'y = torch.einsum("abcd,efgh->abcdefgh", [x, x])',
    "work": "y = torch.ones([8192, 8192])\nfor i in range(64):\n  y = torch.matmul(y, y)",
}


def torchscript_tricks(canary: str) -> Iterator[Case]:
    """Scripts that reach for what is none of theirs."""
    for name, lines in STATEMENTS.items():
        code = lines.replace("{C}", canary).replace("{{", "{").replace("}}", "}")
        used = _USED if "y = " in code and name not in {"print", "weights", "weights too"} else ""
        yield Case(
            f"script {name}",
            with_lines(code + used),
            "pt",
            name in {"print", "ifs", "unary", "deep", "range", "einsum"},
        )
    yield Case("script setstate", rewritten(torchscript(), lambda n, d: _with_setstate(n, d, canary)))
    yield Case("script escape", rewritten(torchscript(), _renamed))
    for number in range(40):
        yield Case(f"script objects {number}", rewritten(torchscript(), _objects(number)), harmless=True)


def _with_setstate(name: str, data: bytes, canary: str) -> bytes:
    if b"class Net(" not in data:
        return data
    return (
        data
        + (
            "  def __setstate__(self: __torch__.Net,\n    state: Tuple[int, bool]) -> NoneType:\n"
            f'    y = torch.from_file("{canary}", True, 4)\n    return None\n'
        ).encode()
    )


def _renamed(name: str, data: bytes) -> bytes:
    return data.replace(b"torch.relu", b"torch.re\xe2\x80\xaelu") if name.endswith(".py") else data


def _objects(number: int) -> Callable[[str, bytes], bytes]:
    """Another number or opcode in the pickle."""
    rng = random.Random(number)

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        places = [place for place, byte in enumerate(data) if byte in b"KMJRb})]tuqh"]
        changed = bytearray(data)
        for place in rng.sample(places, 2):
            changed[place] = rng.choice(b"KMJRb})]tuqh\x85\x86\x87\x8a(e0")
        return bytes(changed)

    return change


def torchscript_mutations(count: int) -> Iterator[Case]:
    """The script's own calls with other numbers, functions and arguments."""
    functions = (
        "torch.add",
        "torch.floordiv",
        "torch.conv2d",
        "torch.reshape",
        "torch.cat",
        "torch.slice",
        "torch.pow",
        "torch.mul",
        "torch.expand",
        "torch.repeat",
        "torch.index",
        "torch.pad",
        "torch.zeros",
        "torch.arange",
        "torch.append",
        "torch.upsample_bilinear2d",
        "torch.scaled_dot_product_attention",
        "torch.group_norm",
        "torch.pixel_shuffle",
        "torch.unflatten",
        "torch.split",
        "torch.batch_norm",
        "torch.im2col",
        "torch.floor_divide",
        "ops.prim.NumToTensor",
    )
    for seed in range(count):
        rng = random.Random(seed)

        def change(name: str, data: bytes, rng: random.Random = rng) -> bytes:
            if not name.endswith(".py") or rng.random() < 0.3:
                return data
            text = data.decode()
            for _ in range(rng.randint(1, 3)):
                spots = list(re.finditer(r"(?<![\w.])-?\d+(?![\w.])|torch\.[a-z_0-9]+(?=\()", text))
                if not spots:
                    break
                spot = rng.choice(spots)
                new = rng.choice(functions) if spot[0].startswith("torch") else str(rng.choice(NUMBERS))
                text = text[: spot.start()] + new + text[spot.end() :]
            return text.encode()

        yield Case(f"script mutation {seed}", rewritten(torchscript(), change), "pt", harmless=True)
