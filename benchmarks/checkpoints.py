"""A table of every checkpoint in a folder: how long it loads, what it was found to be, how accurate it is.

    python benchmarks/checkpoints.py MODELS --data-dir DATA [--examples 2000] > docs/results/checkpoints.md

Each file is loaded with no flag but the data set, which is taken from the file's name (`cifar10_...`).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from robaudit.errors import RobauditError
from robaudit.inputs import DATASETS, Classifier, Images, load_classifier, load_images


def accuracy(classifier: Classifier, images: Images) -> float:
    """Clean accuracy on all of `images`."""
    with torch.no_grad():
        rows = torch.arange(len(images)).split(250)
        right = [classifier(images.float(part)).argmax(1) == images.labels[part] for part in rows]
    return float(torch.cat(right).float().mean())


def row(path: Path, images: Images) -> str:
    """One line of the table."""
    begin = time.monotonic()
    try:
        classifier = load_classifier(str(path), images=images)
    except RobauditError as error:
        reason = " ".join(str(error).replace(f"{path}: ", "").split())
        return f"| {path.name} | {time.monotonic() - begin:.1f} | refused: {reason} | | |"
    seconds = time.monotonic() - begin
    info = classifier.info
    close = " (close call)" if any("close call between norm" in note for note in info.notes) else ""
    stored = " (in the file)" if any("stored with the model" in note for note in info.notes) else ""
    return (
        f"| {path.name} | {seconds:.1f} | {info.format}: `{info.architecture}` | "
        f"{info.normalisation}{stored}{close} | {accuracy(classifier, images):.3f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=2000)
    options = parser.parse_args()
    print("# Published checkpoints, loaded with no flag but the data set\n")
    print(
        f"Made by `python benchmarks/checkpoints.py MODELS --data-dir DATA --examples {options.examples}`; "
        f"clean accuracy on {options.examples} test examples (drawn by seed 0). Seconds are on "
        f"{torch.get_num_threads()} CPU thread(s) and include the search for structure and normalisation.\n"
    )
    print("| file | seconds | found to be | normalisation | clean accuracy |")
    print("|---|---|---|---|---|")
    sets: dict[str, Images] = {}
    for path in sorted(options.models.iterdir()):
        name = path.name.split("_")[0]
        if name not in DATASETS or not path.is_file():
            continue
        if name not in sets:
            sets[name] = load_images(name, data_dir=options.data_dir, limit=options.examples)
        print(row(path, sets[name]), flush=True)


if __name__ == "__main__":
    main()
