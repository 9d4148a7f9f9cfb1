"""Distances on the sphere, and places rounded to a grid."""

from __future__ import annotations

from functools import lru_cache
from math import asin, cos, radians, sin, sqrt

# Mean radius (IUGG 1980). A sphere is within 0.6% of the ellipsoid, far finer than what a rule can mean by "far away".
EARTH_RADIUS_KM = 6_371.0088
# Places are cells of a tenth of a degree, about 11 km: one town is one place, and a phone's position error doesn't
# split it.
CELLS_PER_DEGREE = 10
_LONGITUDE_CELLS = 360 * CELLS_PER_DEGREE + 1

Vector = tuple[float, float, float]


def unit_vector(latitude: float, longitude: float) -> Vector:
    """The point of the unit sphere at this position in degrees."""
    phi, theta = radians(latitude), radians(longitude)
    return cos(phi) * cos(theta), cos(phi) * sin(theta), sin(phi)


def distance_km(one: Vector, other: Vector) -> float:
    """Great-circle distance, by the chord between the points: accurate for near ones too, as the haversine formula
    is.
    """
    x, y, z = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    half_chord = sqrt(x * x + y * y + z * z) / 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, half_chord))


def place_of(latitude: float, longitude: float) -> int:
    """The number of the grid cell around a position."""
    row = round((latitude + 90) * CELLS_PER_DEGREE)
    return row * _LONGITUDE_CELLS + round((longitude + 180) * CELLS_PER_DEGREE)


@lru_cache(maxsize=65_536)
def place_vector(place: int) -> Vector:
    """The centre of a grid cell. Remembered, since customers of one town share their places."""
    row, column = divmod(place, _LONGITUDE_CELLS)
    return unit_vector(row / CELLS_PER_DEGREE - 90, column / CELLS_PER_DEGREE - 180)
