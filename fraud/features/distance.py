"""Distance: how fast and how far the card has travelled, and whether the country fits."""

from __future__ import annotations

from fraud.features.details import CARD_PRESENT, card_presence
from fraud.features.geography import distance_km, place_of, place_vector, unit_vector
from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, MISSING, Feature, alone, over_windows

# Terminals are registered at a head office a town away often enough; under this distance a speed means nothing.
_SPEED_FROM_KM = 50.0
# Clocks of two terminals differ by about a minute; a shorter time would make any distance supersonic.
_SHORTEST_TRIP_MS = MINUTE_MS


def _travel_speed_kmh(moment: Moment) -> float:
    transaction, last = moment.transaction, moment.details.last_present
    latitude, longitude = transaction.latitude, transaction.longitude
    if last is None or latitude is None or longitude is None or card_presence(transaction) != CARD_PRESENT:
        return MISSING
    last_ms, last_latitude, last_longitude = last
    if latitude == last_latitude and longitude == last_longitude:
        return 0.0
    distance = distance_km(unit_vector(latitude, longitude), unit_vector(last_latitude, last_longitude))
    if distance < _SPEED_FROM_KM:
        return 0.0
    return distance * HOUR_MS / max(abs(moment.timestamp_ms - last_ms), _SHORTEST_TRIP_MS)


def _distance_to_usual_place_km(moment: Moment) -> float:
    transaction, places = moment.transaction, moment.details.places
    latitude, longitude = transaction.latitude, transaction.longitude
    if not places or latitude is None or longitude is None:
        return MISSING
    if place_of(latitude, longitude) in places:
        return 0.0
    here = unit_vector(latitude, longitude)
    return min([distance_km(here, place_vector(place)) for place in places])


def _country_is_home(moment: Moment) -> bool | float:
    home, country = moment.details.home_country, moment.transaction.country
    return MISSING if home is None or country is None else country == home


def _country_changed(windows: tuple[int, ...], moment: Moment) -> list[bool | float]:
    country, countries = moment.transaction.country, moment.details.countries
    if country is None:
        return [MISSING]
    rows = countries.rows
    for place in range(moment.end - 1, moment.starts[windows[0]] - 1, -1):
        before = rows[place]
        if before:
            return [before != countries.code_in_rows(country)]
    return [MISSING]


FEATURES = (
    Feature(
        "travel_speed_kmh",
        "number",
        "Speed from the last card-present event, 0 under 50 km",
        "customer",
        "speed",
        alone(_travel_speed_kmh),
        missing="unless both events were card-present with a position",
    ),
    Feature(
        "distance_to_usual_place_km",
        "number",
        "Kilometres to the nearest of the customer's usual places, 0 within one's cell of 0.1 degrees",
        "customer",
        "distance",
        alone(_distance_to_usual_place_km),
        missing="without a position now or before",
    ),
    Feature(
        "country_is_home",
        "boolean",
        "Whether the country is that of most of the customer's payments",
        "customer",
        "comparison",
        alone(_country_is_home),
        missing="without a country now or before",
    ),
    Feature(
        "country_changed_24h",
        "boolean",
        "Whether the country differs from the last one of 24 hours",
        "customer",
        "comparison",
        over_windows(_country_changed),
        window_ms=DAY_MS,
        missing="without a country now or in 24 hours",
    ),
)
