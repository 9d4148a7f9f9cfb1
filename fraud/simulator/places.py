"""Cities, countries and currencies of the simulated world, and the distance between two points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF")
CURRENCY_EXPONENTS = np.array([2, 2, 2, 0, 2])
# Units of the currency for one euro; round numbers near those of early 2026. The product converts by its own rates.
UNITS_PER_EURO = np.array([1.0, 1.1, 0.86, 165.0, 0.94])

# Country -> index in CURRENCIES. Ecuador and El Salvador use the US dollar, which gives more places to travel to.
COUNTRY_CURRENCIES = {
    "AT": 0, "BE": 0, "DE": 0, "ES": 0, "FI": 0, "FR": 0, "GR": 0, "IE": 0, "IT": 0, "NL": 0, "PT": 0,
    "US": 1, "EC": 1, "SV": 1, "GB": 2, "JP": 3, "CH": 4,
}  # fmt: skip
COUNTRIES = tuple(COUNTRY_CURRENCIES)


class City(NamedTuple):
    """A place: weight as a home (0: only visited) and weight as a destination of travel."""

    name: str
    country: str
    latitude: float
    longitude: float
    home_weight: float
    visit_weight: float


CITIES = (
    City("Berlin", "DE", 52.52, 13.40, 3.6, 3.0),
    City("Hamburg", "DE", 53.55, 9.99, 1.9, 1.5),
    City("München", "DE", 48.14, 11.58, 1.5, 2.0),
    City("Köln", "DE", 50.94, 6.96, 1.1, 1.0),
    City("Frankfurt am Main", "DE", 50.11, 8.68, 0.8, 1.5),
    City("Leipzig", "DE", 51.34, 12.37, 0.6, 0.4),
    City("Paris", "FR", 48.86, 2.35, 2.2, 4.0),
    City("Lyon", "FR", 45.76, 4.84, 0.7, 0.8),
    City("Marseille", "FR", 43.30, 5.37, 0.7, 0.8),
    City("Nice", "FR", 43.70, 7.27, 0.3, 1.2),
    City("Madrid", "ES", 40.42, -3.70, 1.6, 2.0),
    City("Barcelona", "ES", 41.39, 2.17, 1.1, 3.0),
    City("Sevilla", "ES", 37.39, -5.98, 0.5, 0.8),
    City("Palma", "ES", 39.57, 2.65, 0.2, 2.0),
    City("Roma", "IT", 41.90, 12.50, 1.3, 3.0),
    City("Milano", "IT", 45.46, 9.19, 1.0, 1.5),
    City("Napoli", "IT", 40.85, 14.27, 0.6, 0.8),
    City("Amsterdam", "NL", 52.37, 4.90, 0.9, 2.5),
    City("Rotterdam", "NL", 51.92, 4.48, 0.6, 0.5),
    City("Bruxelles", "BE", 50.85, 4.35, 0.7, 1.0),
    City("Wien", "AT", 48.21, 16.37, 1.2, 1.8),
    City("Salzburg", "AT", 47.81, 13.04, 0.2, 0.8),
    City("Lisboa", "PT", 38.72, -9.14, 0.6, 1.8),
    City("Porto", "PT", 41.15, -8.61, 0.3, 0.8),
    City("Dublin", "IE", 53.35, -6.26, 0.5, 1.2),
    City("Helsinki", "FI", 60.17, 24.94, 0.4, 0.6),
    City("Athína", "GR", 37.98, 23.73, 0.6, 1.5),
    City("London", "GB", 51.51, -0.13, 0.0, 4.0),
    City("Manchester", "GB", 53.48, -2.24, 0.0, 0.7),
    City("Edinburgh", "GB", 55.95, -3.19, 0.0, 0.8),
    City("Zürich", "CH", 47.38, 8.54, 0.1, 1.5),
    City("Genève", "CH", 46.20, 6.14, 0.1, 0.8),
    City("New York", "US", 40.71, -74.01, 0.0, 1.5),
    City("Miami", "US", 25.76, -80.19, 0.0, 0.8),
    City("Los Angeles", "US", 34.05, -118.24, 0.0, 0.8),
    City("Tokyo", "JP", 35.68, 139.69, 0.0, 0.7),
    City("Osaka", "JP", 34.69, 135.50, 0.0, 0.3),
    City("Quito", "EC", -0.18, -78.47, 0.0, 0.2),
    City("San Salvador", "SV", 13.69, -89.22, 0.0, 0.15),
)

CITY_NAMES = tuple(city.name for city in CITIES)
CITY_COUNTRY = np.array([COUNTRIES.index(city.country) for city in CITIES], dtype=np.int16)
CITY_LATITUDE = np.array([city.latitude for city in CITIES])
CITY_LONGITUDE = np.array([city.longitude for city in CITIES])
HOME_WEIGHTS = np.array([city.home_weight for city in CITIES])
VISIT_WEIGHTS = np.array([city.visit_weight for city in CITIES])
COUNTRY_CURRENCY = np.array(list(COUNTRY_CURRENCIES.values()), dtype=np.int8)

EARTH_RADIUS_KM = 6_371.0088  # mean radius, IUGG
KM_PER_DEGREE = 111.195  # of latitude, on that sphere


def distance_km(latitude: Floats, longitude: Floats, other_latitude: Floats, other_longitude: Floats) -> Floats:
    """Great-circle distance in km between points in degrees (haversine formula), element by element."""
    half_height = np.radians(other_latitude - latitude) / 2
    half_width = np.radians(other_longitude - longitude) / 2
    across = np.cos(np.radians(latitude)) * np.cos(np.radians(other_latitude))
    chord = np.sin(half_height) ** 2 + across * np.sin(half_width) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0))))


def scatter(
    generator: np.random.Generator, latitude: Floats, longitude: Floats, spread_km: float
) -> tuple[Floats, Floats]:
    """Points around the given ones, normal with `spread_km` in both directions, rounded to 1e-5 degrees (a metre)."""
    north = generator.normal(0.0, spread_km / KM_PER_DEGREE, len(latitude))
    east = generator.normal(0.0, spread_km / KM_PER_DEGREE, len(longitude)) / np.cos(np.radians(latitude))
    return np.round(latitude + north, 5), np.round(longitude + east, 5)


CITY_DISTANCE_KM = distance_km(
    CITY_LATITUDE[:, None], CITY_LONGITUDE[:, None], CITY_LATITUDE[None, :], CITY_LONGITUDE[None, :]
)
