"""The reference of drift as a file beside a model's weights."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fraud.scoring.drift import DriftReference
from fraud.scoring.manifest import ModelRefusedError

DRIFT_FILE = "drift_reference.json"
# Ten bins of some hundred features are tens of kilobytes.
DRIFT_FILE_MAX_BYTES = 1024 * 1024


def drift_reference_bytes(reference: DriftReference) -> bytes:
    """The file's bytes, canonical: sorted keys, one newline at the end."""
    return msgspec.json.encode(reference, order="sorted") + b"\n"


def read_drift_reference(folder: Path, model_content_hash: str) -> DriftReference | None:
    """The reference in a model's folder, None where there is none (a model of an earlier version).

    Raises `ModelRefusedError` where it is damaged or belongs to other content than `model_content_hash`.
    """
    path = folder / DRIFT_FILE
    try:
        with path.open("rb") as file:
            content = file.read(DRIFT_FILE_MAX_BYTES + 1)
        reference = msgspec.json.decode(content[:DRIFT_FILE_MAX_BYTES], type=DriftReference)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefusedError(f"{path} is not a reference of drift: {error}. Train the model again") from error
    if reference.model_content_hash != model_content_hash:
        raise ModelRefusedError(
            f"{path} belongs to the content {reference.model_content_hash[:12]}, the model is "
            f"{model_content_hash[:12]}. Restore the folder or train again"
        )
    return reference
