"""What is known of a data set without reading it, and without torch."""

import subprocess
import sys

import pytest

from robaudit.datasets import DATASETS, usual_eps


@pytest.mark.parametrize(
    ("name", "norm", "eps"),
    [
        ("cifar10", "Linf", 8 / 255),
        ("cifar10", "L2", 0.5),
        ("mnist", "Linf", 0.3),
        ("no-such-set", "Linf", None),
    ],
)
def test_the_usual_radius(name, norm, eps):
    assert usual_eps(name, norm) == eps


def test_every_data_set_has_facts_and_a_reader():
    from robaudit.inputs.data.loading import READERS

    assert READERS.keys() == DATASETS.keys()
    for spec in DATASETS.values():
        assert len(spec.mean) == len(spec.std) == spec.shape[0]


def test_the_radius_of_a_threat_model_is_known_without_torch():
    script = (
        "import sys\nfrom robaudit.cli.data import threat_model\n"
        "assert threat_model('L2', None, 'cifar100').eps == 0.5\n"
        "assert not {'torch', 'robaudit.inputs'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
