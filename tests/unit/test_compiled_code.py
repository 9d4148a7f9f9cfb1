"""Compiled code: its values are Python's, and it is kept where it can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from math import asin, cos, log, radians, sin
from pathlib import Path
from random import Random

import pytest

from fraud.features.geography import CELLS_PER_DEGREE, EARTH_RADIUS_KM, distance_km, place_of, unit_vector
from fraud.features.novelty import surprise

SOURCES = Path(__file__).parents[2] / "fraud" / "features"
WHERE = "import numba; import fraud.features.compiled; print(numba.config.CACHE_DIR or '')"


def code_folder(home: Path, product: Path, bounds_check: str = "") -> Path | None:
    """Where a process keeps compiled code that finds the product there; None if it does not."""
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(product), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"NUMBA_BOUNDSCHECK": bounds_check} if bounds_check else {}
    printed = subprocess.run(
        [sys.executable, "-c", WHERE], env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    return Path(printed.stdout.strip()) if printed.stdout.strip() else None


def copied(to: Path) -> Path:
    """The sources of compiled code at another place."""
    features = to / "fraud" / "features"
    features.mkdir(parents=True)
    for folder in (to / "fraud", features):
        (folder / "__init__.py").touch()
    (features / "compiled.py").write_bytes((SOURCES / "compiled.py").read_bytes())
    return features


def test_it_is_kept_beside_the_sources(tmp_path: Path) -> None:
    features = copied(tmp_path / "product")
    assert code_folder(tmp_path, tmp_path / "product").parent == features / "__pycache__"


def test_other_sources_have_another_folder(tmp_path: Path) -> None:
    """A function is compiled again when one that it calls has changed, in whichever file."""
    features = copied(tmp_path / "product")
    before = code_folder(tmp_path, tmp_path / "product")
    (features / "another.py").write_text("LIMIT = 2\n", encoding="utf-8")
    assert code_folder(tmp_path, tmp_path / "product") != before
    (features / "another.py").unlink()
    assert code_folder(tmp_path, tmp_path / "product") == before


def test_it_is_kept_in_the_users_cache_where_the_sources_are_read_only(tmp_path: Path) -> None:
    """As in the container image. Root may write everywhere, so a file stands where the folder would be made."""
    features = copied(tmp_path / "product")
    (features / "__pycache__").touch()
    kept = code_folder(tmp_path, tmp_path / "product")
    assert kept is not None
    assert kept.parent == tmp_path / ".cache" / "fraud-engine"


def test_it_is_not_kept_where_nothing_may_be_written(tmp_path: Path) -> None:
    """Not in a folder that other versions write to: their code would be taken for this one's."""
    features = copied(tmp_path / "product")
    (features / "__pycache__").touch()
    (tmp_path / ".cache").touch()
    assert code_folder(tmp_path, tmp_path / "product") is None


def test_code_that_checks_every_index_is_other_code(tmp_path: Path) -> None:
    copied(tmp_path / "product")
    usual = code_folder(tmp_path, tmp_path / "product")
    assert code_folder(tmp_path, tmp_path / "product", bounds_check="1") not in {usual, None}


def test_functions_of_real_numbers_give_what_pythons_give() -> None:
    """To the bit: a decision that was made by one can be made again by the other."""
    draw = Random(5).uniform
    for _ in range(2_000):
        latitude, longitude, half_chord = draw(-90, 90), draw(-180, 180), draw(0, 1)
        phi, theta = radians(latitude), radians(longitude)
        assert unit_vector(latitude, longitude) == (cos(phi) * cos(theta), cos(phi) * sin(theta), sin(phi))
        assert distance_km((0.0, 0.0, 2 * half_chord), (0.0, 0.0, 0.0)) == 2 * EARTH_RADIUS_KM * asin(half_chord)
    for seen in range(50):
        assert surprise(seen, 60, 16) == log((60 + 16) / (seen + 1))


@pytest.mark.parametrize(("latitude", "cells"), [(0.05, 0), (0.15, 2), (0.25, 2), (-0.05, 0), (0.0501, 1)])
def test_a_position_between_two_cells_is_in_the_even_one(latitude: float, cells: int) -> None:
    """As Python rounds: half to even."""
    row = round((latitude + 90) * CELLS_PER_DEGREE)
    assert place_of(latitude, 0.0) - place_of(0.0, 0.0) == (row - 900) * (360 * CELLS_PER_DEGREE + 1)
    assert row - 900 == cells
