"""Paths in, images and classifiers out."""

from __future__ import annotations

from robaudit.datasets import DATASETS, DatasetSpec
from robaudit.inputs.classifier import Classifier, ModelInfo, save_classifier
from robaudit.inputs.data.images import Images, make_images
from robaudit.inputs.data.labels import class_labels
from robaudit.inputs.data.loading import load_images
from robaudit.inputs.files.copies import file_sha256
from robaudit.inputs.files.saved import read_saved
from robaudit.inputs.identity import module_digest
from robaudit.inputs.inspection import Inspection, inspect_checkpoint
from robaudit.inputs.loading import load_classifier, load_helpers
from robaudit.inputs.networks import ARCHITECTURES, build_architecture
from robaudit.inputs.normalisation import Normalise, parse_normalisation, usual_normalisations
from robaudit.inputs.programs import is_factory, source_digest, with_logits
from robaudit.inputs.recovery.scoring import calibrated_losses, standard_errors
from robaudit.inputs.recovery.usual_size import usual_size

__all__ = [
    "ARCHITECTURES",
    "DATASETS",
    "Classifier",
    "DatasetSpec",
    "Images",
    "Inspection",
    "ModelInfo",
    "Normalise",
    "build_architecture",
    "calibrated_losses",
    "class_labels",
    "file_sha256",
    "inspect_checkpoint",
    "is_factory",
    "load_classifier",
    "load_helpers",
    "load_images",
    "make_images",
    "module_digest",
    "parse_normalisation",
    "read_saved",
    "save_classifier",
    "source_digest",
    "standard_errors",
    "usual_normalisations",
    "usual_size",
    "with_logits",
]
