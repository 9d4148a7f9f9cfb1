"""Distance: how fast and how far the card has travelled, and whether the country fits."""

from __future__ import annotations

from math import isnan, nan
from typing import Final

from fraud.features import customer_words as layout
from fraud.features.compiled import Integers, Reals, compiled, integers_at, reals_at
from fraud.features.customer_words import (
    COUNTRY,
    EVENT_ADDRESS,
    EVENT_FLAGS,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    code_in_rows,
    row_code,
)
from fraud.features.geography import distance_km, place_of, place_vector, unit_vector
from fraud.features.presence import CARD_PRESENT, DECLINED
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, Feature, together

# Terminals are registered at a head office a town away often enough; under this distance a speed means nothing.
_SPEED_FROM_KM: Final = 50.0
# Clocks of two terminals differ by about a minute; a shorter time would make any distance supersonic.
_SHORTEST_TRIP_MS: Final = MINUTE_MS


@compiled
def _travel_speed_kmh(run: Run, _windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        event, latitude, longitude = run.events[number], run.positions[number, 0], run.positions[number, 1]
        words, reals = integers_at(event[EVENT_ADDRESS]), reals_at(event[EVENT_ADDRESS])
        last_ms = words[layout.LAST_PRESENT_MS]
        out[number, 0] = nan
        is_placed = not (isnan(latitude) or isnan(longitude))
        if last_ms == layout.NEVER_MS or not is_placed or event[EVENT_FLAGS] % DECLINED != CARD_PRESENT:
            continue
        last_latitude, last_longitude = reals[layout.LAST_LATITUDE], reals[layout.LAST_LONGITUDE]
        out[number, 0] = 0.0
        if latitude != last_latitude or longitude != last_longitude:
            distance = distance_km(unit_vector(latitude, longitude), unit_vector(last_latitude, last_longitude))
            if distance >= _SPEED_FROM_KM:
                trip_ms = max(abs(event[EVENT_TIMESTAMP_MS] - last_ms), _SHORTEST_TRIP_MS)
                out[number, 0] = distance * HOUR_MS / trip_ms


@compiled
def _distance_to_usual_place_km(run: Run, _windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        latitude, longitude = run.positions[number, 0], run.positions[number, 1]
        places = words[layout.PLACES : layout.PLACES + words[layout.PLACE_COUNT]]
        out[number, 0] = nan
        if len(places) and not (isnan(latitude) or isnan(longitude)):
            out[number, 0] = _distance_to_nearest_km(latitude, longitude, places)


@compiled
def _distance_to_nearest_km(latitude: float, longitude: float, places: Integers) -> float:
    here = place_of(latitude, longitude)
    for place in places:
        if place == here:
            return 0.0
    position = unit_vector(latitude, longitude)
    nearest = distance_km(position, place_vector(places[0]))
    for place in places[1:]:
        nearest = min(nearest, distance_km(position, place_vector(place)))
    return nearest


@compiled
def _country_is_home(run: Run, _windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        home = integers_at(run.events[number, EVENT_ADDRESS])[layout.HOME_COUNTRY]
        country = run.events[number, EVENT_THINGS + COUNTRY]
        out[number, 0] = nan
        if home and country:
            out[number, 0] = country == home


@compiled
def _country_changed(run: Run, windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words, country = integers_at(run.events[number, EVENT_ADDRESS]), run.events[number, EVENT_THINGS + COUNTRY]
        out[number, 0] = nan
        if country == 0:
            continue
        for place in range(run.starts[number, -1] - 1, run.starts[number, windows[0, 0]] - 1, -1):
            before = row_code(words, place, COUNTRY)
            if before:
                out[number, 0] = before != code_in_rows(words, COUNTRY, country)
                break


FEATURES = (
    Feature(
        "travel_speed_kmh",
        "number",
        "Speed from the last card-present event, 0 under 50 km",
        "customer",
        "speed",
        together(1, _travel_speed_kmh),
        missing="unless both events were card-present with a position",
    ),
    Feature(
        "distance_to_usual_place_km",
        "number",
        "Kilometres to the nearest of the customer's usual places, 0 within one's cell of 0.1 degrees",
        "customer",
        "distance",
        together(1, _distance_to_usual_place_km),
        missing="without a position now or before",
    ),
    Feature(
        "country_is_home",
        "boolean",
        "Whether the country is that of most of the customer's payments",
        "customer",
        "comparison",
        together(1, _country_is_home),
        missing="without a country now or before",
    ),
    Feature(
        "country_changed_24h",
        "boolean",
        "Whether the country differs from the last one of 24 hours",
        "customer",
        "comparison",
        together(1, _country_changed),
        window_ms=DAY_MS,
        missing="without a country now or in 24 hours",
    ),
)
