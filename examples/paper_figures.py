"""The paper's Figure 1 (loss surfaces) and Table 1 (accuracy under each attack) for two checkpoints.

    python examples/paper_figures.py [REGULAR UNSTABLE DATASET] [--out FOLDER]

Without arguments it takes the two checkpoints that robaudit ships, with short budgets.
"""

import argparse
from importlib import resources
from pathlib import Path

from robaudit.cli import run

SHORT = [
    "--limit",
    "100",
    "--apgd-steps",
    "10",
    "--fab-steps",
    "5",
    "--targets",
    "2",
    "--square-queries",
    "200",
]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("arguments", nargs="*")
parser.add_argument("--out", type=Path, default=Path("figures"))
options = parser.parse_args()
if options.arguments:
    regular, unstable, dataset = options.arguments
    budget, size = [], []
else:
    assets = Path(str(resources.files("robaudit") / "assets"))
    regular, unstable = (str(assets / f"digits_{kind}.safetensors") for kind in ("adversarial", "distilled"))
    dataset, budget, size = "digits", SHORT, ["--images", "4", "--grid", "21"]

options.out.mkdir(parents=True, exist_ok=True)
figure = str(options.out / "figure1.pdf")
codes = [run(["landscape", regular, unstable, "--dataset", dataset, "--out", figure, *size])]
for name, model in (("regular", regular), ("unstable", unstable)):
    evidence = str(options.out / f"{name}.evidence")
    codes.append(
        run(["check", model, "--dataset", dataset, "--examples", "all", *budget, "--evidence", evidence])
    )
    codes.append(
        run(["report", evidence, "--format", "markdown", "--out", str(options.out / f"table1-{name}.md")])
    )
raise SystemExit(2 if 2 in codes else 0)
