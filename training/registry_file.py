"""The registry on disk: one writer at a time, and every reader sees the old state or the new."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from fraud.scoring.registry import REGISTRY_FILE, Registry, check_model_name, read_registry, registry_bytes
from training.folder import replace_file

# Its lock is released by the system when its holder dies, so no kill leaves it locked.
_LOCK_FILE = ".registry.lock"


def change_registry(models: Path, change: Callable[[Registry], Registry]) -> Registry:
    """Replace what stands by what `change` makes of it, while no other writer does; returns what stands then.

    Raises what `change` raises, `ModelRefusedError` where the registry cannot be read, or `OSError`.
    """
    with (models / _LOCK_FILE).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read_registry(models)
        after = change(before)
        if after != before:
            for entry in after.changes:
                check_model_name(entry.model, str(models / REGISTRY_FILE))
            replace_file(models / REGISTRY_FILE, registry_bytes(after))
        return after
