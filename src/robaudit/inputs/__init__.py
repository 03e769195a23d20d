"""Paths in, images and classifiers out."""

from __future__ import annotations

from robaudit.datasets import DATASETS, DatasetSpec
from robaudit.inputs.architectures import ARCHITECTURES, build_architecture
from robaudit.inputs.classifier import Classifier, ModelInfo, save_classifier
from robaudit.inputs.datasets import load_images
from robaudit.inputs.images import Images, make_images
from robaudit.inputs.inspection import Inspection, inspect_checkpoint
from robaudit.inputs.loading import load_classifier
from robaudit.inputs.normalisation import parse_normalisation

__all__ = [
    "ARCHITECTURES",
    "DATASETS",
    "Classifier",
    "DatasetSpec",
    "Images",
    "Inspection",
    "ModelInfo",
    "build_architecture",
    "inspect_checkpoint",
    "load_classifier",
    "load_images",
    "make_images",
    "parse_normalisation",
    "save_classifier",
]
