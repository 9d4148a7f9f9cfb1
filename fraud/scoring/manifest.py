"""What is known about a model besides its weights, and the hash that ties both together."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

ModelKind = Literal["logistic_regression", "random_forest", "boosting"]

# The version of this file's own layout. A manifest of another version is refused, never guessed at.
MANIFEST_VERSION = 1


class ModelRefusedError(Exception):
    """A model that is not loaded. The message says what, where, and what to do."""


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model has learned from. Times are RFC 3339 in UTC; `period_to` and `validation_to` are exclusive.

    `data_hash` is the SHA-256 of the training and validation rows in order. Labels known by `period_to` count, no
    others.
    """

    data_hash: str
    period_from: str
    period_to: str
    validation_to: str
    label_delay_days: float
    row_count: int
    fraud_count: int
    seed: int
    configuration: dict[str, str | int | float | bool | None]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `manifest.json`.

    `content_hash` covers every field but `created_at` and itself, and the model file's bytes.

    `thresholds` and `metrics` are named numbers, None where a metric has no value (no fraud in the period).
    `background` holds the training mean of each feature for a linear model, None for trees.
    """

    name: str
    kind: ModelKind
    feature_set_name: str
    feature_set_hash: str
    feature_names: tuple[str, ...]
    training: Training
    metrics: dict[str, float | None]
    thresholds: dict[str, float]
    background: tuple[float, ...] | None
    library_versions: dict[str, str]
    model_file_hash: str
    created_at: str
    content_hash: str = ""
    manifest_version: int = MANIFEST_VERSION


def content_hash(manifest: Manifest) -> str:
    """SHA-256 over the canonical JSON of the manifest without `created_at` and `content_hash`.

    The model file's bytes are in it through `model_file_hash`.
    """
    content = msgspec.to_builtins(manifest)
    del content["created_at"], content["content_hash"]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its content hash filled in."""
    return msgspec.structs.replace(manifest, content_hash=content_hash(manifest))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The file's bytes: sorted keys, indented for people, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def parse_manifest(content: bytes, place: str) -> Manifest:
    """Read a manifest; `place` names the file in messages.

    Raises `ModelRefusedError` if it is not one or was changed.
    """
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefusedError(f"{place} is not a model manifest: {error}. Train the model again") from error
    if manifest.manifest_version != MANIFEST_VERSION:
        raise ModelRefusedError(
            f"{place} has manifest version {manifest.manifest_version}, this program reads {MANIFEST_VERSION}. "
            "Train the model again"
        )
    if manifest.content_hash != content_hash(manifest):
        raise ModelRefusedError(
            f"{place} was changed after training: its content hash does not match. Restore the folder or train again"
        )
    return manifest
