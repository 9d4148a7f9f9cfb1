"""Distances on the sphere, and places rounded to a grid."""

from __future__ import annotations

from math import asin, cos, pi, sin, sqrt
from typing import Final

import numpy as np

from fraud.features.compiled import compiled

# Mean radius (IUGG 1980). A sphere is within 0.6% of the ellipsoid, far finer than what a rule can mean by "far away".
EARTH_RADIUS_KM: Final = 6_371.0088
# Places are cells of a tenth of a degree, about 11 km: one town is one place, and a phone's position error doesn't
# split it.
CELLS_PER_DEGREE: Final = 10
_LONGITUDE_CELLS: Final = 360 * CELLS_PER_DEGREE + 1
_RADIANS_PER_DEGREE: Final = pi / 180


@compiled
def unit_vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    """The point of the unit sphere at this position in degrees."""
    phi, theta = latitude * _RADIANS_PER_DEGREE, longitude * _RADIANS_PER_DEGREE
    return cos(phi) * cos(theta), cos(phi) * sin(theta), sin(phi)


@compiled
def distance_km(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Great-circle distance, by the chord between the points: accurate for near ones too, as the haversine formula
    is.
    """
    x, y, z = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    half_chord = sqrt(x * x + y * y + z * z) / 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, half_chord))


@compiled
def place_of(latitude: float, longitude: float) -> int:
    """The number of the grid cell around a position."""
    row = int(np.rint((latitude + 90) * CELLS_PER_DEGREE))
    return row * _LONGITUDE_CELLS + int(np.rint((longitude + 180) * CELLS_PER_DEGREE))


@compiled
def place_vector(place: int) -> tuple[float, float, float]:
    """The centre of a grid cell."""
    row, column = place // _LONGITUDE_CELLS, place % _LONGITUDE_CELLS
    return unit_vector(row / CELLS_PER_DEGREE - 90, column / CELLS_PER_DEGREE - 180)
