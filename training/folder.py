"""A fitted model as a folder: weights and manifest, whole or not at all."""

from __future__ import annotations

import ctypes
import errno
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

# Of linux/fs.h and linux/fcntl.h, which Python has no names for.
_RENAME_EXCHANGE, _HERE = 2, -100
_LACKS_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV})


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
    """Write a folder so that its name never shows a half of it, nor nothing; a folder of that name is replaced.

    A kill may leave a folder beside it whose name begins with a dot. Raises `OSError`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two runs apart; the same parent makes the rename one step of one file system.
    beside = folder.parent / f".{folder.name}.{os.getpid()}.new"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        for name, content in files.items():
            write_durably(beside / name, content)
        sync_folder(beside)
        if folder.exists():
            exchange(beside, folder)
        else:
            beside.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that its name shows the old content or the new, whatever happens. Raises `OSError`."""
    beside = path.parent / f".{path.name}.{os.getpid()}.new"
    try:
        write_durably(beside, content)
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk: a rename must not come there before it. Raises `OSError`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk. Raises `OSError`."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def exchange(one: Path, other: Path) -> None:
    """Let two folders change their names in one step, so that neither is ever missing. Raises `OSError`.

    A rename alone replaces no folder that has files. Where the system or the file system lacks the exchange (Linux has
    it since 3.15), `other` is away for a moment.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()), _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _LACKS_EXCHANGE:
            raise OSError(number, os.strerror(number), str(other))
    aside = one.with_name(f"{one.name}.old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
