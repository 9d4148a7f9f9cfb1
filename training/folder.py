"""A fitted model as a folder: weights and manifest, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fraud.scoring.manifest import Manifest, Training, manifest_bytes, sealed
from fraud.scoring.model import MANIFEST_FILE, MODEL_FILE
from fraud.scoring.persistence import estimator_bytes
from training.fit import FittedModel


@dataclass(frozen=True)
class Identity:
    """What a model is called and which features it reads.

    `created_at` is RFC 3339 and stays outside of the content hash.
    """

    name: str
    feature_set_name: str
    feature_set_hash: str
    feature_names: Sequence[str]
    created_at: str


def model_files(fitted: FittedModel, identity: Identity, training: Training) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, and the bytes of each file of the folder by name."""
    content = estimator_bytes(fitted.estimator)
    manifest = sealed(
        Manifest(
            name=identity.name,
            kind=fitted.estimate.kind,
            feature_set_name=identity.feature_set_name,
            feature_set_hash=identity.feature_set_hash,
            feature_names=tuple(identity.feature_names),
            training=training,
            metrics=fitted.metrics,
            thresholds=fitted.thresholds,
            background=fitted.background,
            library_versions=library_versions(),
            model_file_hash=hashlib.sha256(content).hexdigest(),
            created_at=identity.created_at,
        )
    )
    return manifest, {MODEL_FILE: content, MANIFEST_FILE: manifest_bytes(manifest)}


def library_versions() -> dict[str, str]:
    """The versions of everything that shapes a fitted model."""
    import numpy as np
    import sklearn
    import skops

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder so that its name never shows a half of it; a folder of that name is replaced. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two runs apart; the same parent makes the rename one step of one file system.
    beside = folder.parent / f".{folder.name}.{os.getpid()}.new"
    replaced = folder.parent / f".{folder.name}.{os.getpid()}.old"
    try:
        beside.mkdir()
        for name, content in files.items():
            with (beside / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(replaced)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
