"""Evaluations against the champion, kept in the folder of the model that they judge."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from training.against_champion import EVALUATION_VERSION, AgainstChampion
from training.folder import replace_file
from training.registry import RegistryError

# So many digits of its hash keep two evaluations of one model apart, and a name short enough to read.
_NAME_DIGITS = 16


class KeptEvaluation(NamedTuple):
    """An evaluation as it lies on disk, and the SHA-256 of its file, by which the registry names it."""

    content: AgainstChampion
    evaluation_hash: str


def hashed_evaluation(content: AgainstChampion) -> KeptEvaluation:
    """An evaluation as `keep_evaluation` writes it."""
    return KeptEvaluation(content, hashlib.sha256(_encoded(content)).hexdigest())


def keep_evaluation(folder: Path, kept: KeptEvaluation) -> None:
    """Write an evaluation into a model's folder, whole or not at all. Raises `OSError`."""
    replace_file(folder / _file_name(kept.evaluation_hash), _encoded(kept.content))


def _encoded(content: AgainstChampion) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def _file_name(evaluation_hash: str) -> str:
    return f"evaluation-{evaluation_hash[:_NAME_DIGITS]}.json"


def kept_evaluations(folder: Path) -> list[KeptEvaluation]:
    """The evaluations in a model's folder, the newest last.

    Raises `RegistryError` for a file that is not one or was changed, `OSError` where it cannot be read.
    """
    found = []
    for path in sorted(folder.glob("evaluation-*.json")):
        encoded = path.read_bytes()
        evaluation_hash = hashlib.sha256(encoded).hexdigest()
        if path.name != _file_name(evaluation_hash):
            raise RegistryError(f"{path} was changed after it was written. Restore or remove it, and compare again")
        try:
            content = msgspec.json.decode(encoded, type=AgainstChampion)
        except msgspec.DecodeError as error:
            raise RegistryError(f"{path} is no evaluation: {error}. Remove it, and compare again") from error
        if content.evaluation_version != EVALUATION_VERSION:
            raise RegistryError(
                f"{path} has version {content.evaluation_version}, this program reads {EVALUATION_VERSION}. Remove it, "
                "and compare again"
            )
        found.append(KeptEvaluation(content, evaluation_hash))
    return sorted(found, key=lambda kept: (kept.content.judged_at, kept.evaluation_hash))
