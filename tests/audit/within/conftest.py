"""Both demo networks, audited to a stated precision and in full."""

import shutil
from dataclasses import replace

import pytest

from robaudit.audit import audit
from robaudit.inputs import load_classifier, load_images
from robaudit.verdict.sampling import candidates, drawn
from tests.audit.within.plans import PATHS, PLAN


@pytest.fixture(scope="session")
def images():
    return load_images("digits", seed=1, limit=300)


@pytest.fixture(scope="session")
def split():
    """The whole of what `images` is a part of."""
    return load_images("digits", seed=1)


@pytest.fixture(scope="session")
def models():
    return {name: load_classifier(str(path)) for name, path in PATHS.items()}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("within")


@pytest.fixture(scope="session")
def found(folder, models, images):
    return {name: audit(model, images, PLAN, path=folder / name) for name, model in models.items()}


@pytest.fixture(scope="session")
def full(folder, models, images):
    plan = replace(PLAN, within=None, examples="all")
    return {name: audit(model, images, plan, path=folder / f"{name}.full") for name, model in models.items()}


@pytest.fixture
def forged(found, folder, tmp_path):
    """A copy of the masked network's file to forge, and the places of its candidates and of those drawn."""
    evidence = found["masked"]
    among = candidates(evidence)
    return shutil.copy(folder / "masked", tmp_path / "forged"), evidence, among, drawn(evidence, among)
