"""Merchants: what they sell, where, at what price, and how a customer comes upon one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fraud.simulator.events import NONE, Booleans, Component, Floats, Integers, generator_for
from fraud.simulator.options import SimulationOptions
from fraud.simulator.places import CITIES, CITY_COUNTRY, CITY_LATITUDE, CITY_LONGITUDE, VISIT_WEIGHTS, scatter


class Category(NamedTuple):
    """A merchant category: `visits` is its weight, `spread` the deviation of the logarithm of amounts, `online` the
    share of its merchants without a shop, `resale` how much a fraudster wants its goods, `sparkov` the category in the
    format of that name.
    """

    code: str
    visits: float
    mean_euro: float
    spread: float
    online: float
    resale: float
    sparkov: str


CATEGORIES = (
    Category("5411", 26.0, 32.0, 0.65, 0.05, 0.2, "grocery"),
    Category("5814", 12.0, 11.0, 0.40, 0.0, 0.1, "food_dining"),
    Category("5812", 10.0, 38.0, 0.55, 0.0, 0.1, "food_dining"),
    Category("5541", 7.0, 52.0, 0.40, 0.0, 0.5, "gas_transport"),
    Category("5912", 5.0, 18.0, 0.60, 0.1, 0.1, "health_fitness"),
    Category("5311", 5.0, 65.0, 0.70, 0.2, 1.0, "shopping"),
    Category("5651", 6.0, 60.0, 0.60, 0.4, 1.0, "shopping"),
    Category("5732", 2.5, 180.0, 0.95, 0.5, 5.0, "shopping"),
    Category("5944", 0.4, 220.0, 0.90, 0.2, 3.0, "shopping"),
    Category("4111", 8.0, 6.0, 0.60, 0.3, 0.0, "travel"),
    Category("4511", 0.8, 240.0, 0.60, 0.9, 1.5, "travel"),
    Category("7011", 1.5, 160.0, 0.60, 0.5, 0.5, "travel"),
    Category("4121", 2.5, 17.0, 0.50, 0.1, 0.1, "travel"),
    Category("5816", 3.5, 9.0, 0.80, 1.0, 1.0, "entertainment"),
    Category("5815", 3.0, 11.0, 0.40, 1.0, 0.3, "entertainment"),
    Category("5942", 2.0, 22.0, 0.50, 0.5, 0.1, "personal_care"),
    Category("5945", 1.5, 35.0, 0.60, 0.4, 0.4, "kids_pets"),
    Category("7832", 2.0, 20.0, 0.40, 0.1, 0.0, "entertainment"),
    Category("5999", 3.0, 40.0, 0.80, 0.5, 0.8, "misc"),
    Category("6011", 5.0, 80.0, 0.60, 0.0, 2.0, "misc"),
    Category("5947", 0.7, 50.0, 0.60, 0.7, 4.0, "shopping"),
    Category("8398", 0.5, 20.0, 0.70, 0.8, 0.0, "home"),
)
CATEGORY_CODES = tuple(category.code for category in CATEGORIES)
CATEGORY_MEAN_EURO = np.array([category.mean_euro for category in CATEGORIES])
CATEGORY_SPREAD = np.array([category.spread for category in CATEGORIES])
CATEGORY_RESALE = np.array([category.resale for category in CATEGORIES])
CASH_MACHINE = CATEGORY_CODES.index("6011")
DIGITAL_GAMES = CATEGORY_CODES.index("5816")
DIGITAL_MEDIA = CATEGORY_CODES.index("5815")
# Subscriptions, fares and tickets cost everybody the same.
ONE_PRICE = (DIGITAL_GAMES, DIGITAL_MEDIA, CATEGORY_CODES.index("4111"), CATEGORY_CODES.index("7832"))
DIGITAL_GOODS = (DIGITAL_GAMES, DIGITAL_MEDIA, CATEGORY_CODES.index("8398"))

# Few merchants take most of the trade: a Pareto tail of this index gives a handful of chains and many corner shops.
POPULARITY_INDEX = 1.3
# Share of foreign online merchants that price in euros for European customers.
CHARGES_EURO_SHARE = 0.5


@dataclass(frozen=True)
class Merchants:
    """Columns with one entry per merchant; those with a shop come first, ordered by city, the online ones last.

    `city` and coordinates are missing (-1, NaN) online. `cumulative_popularity` has one entry more than there are
    merchants. `city_start` gives, per city, the first merchant of it, with the first online merchant as last entry.
    """

    category: Integers
    city: Integers
    country: Integers
    latitude: Floats
    longitude: Floats
    mean_euro: Floats
    fixed_price: Booleans
    charges_euro: Booleans
    cumulative_popularity: Floats
    city_start: Integers
    terminals_each: int
    cash_machines: Integers
    digital_goods: Integers

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.category)

    @property
    def first_online(self) -> int:
        """Index of the first online merchant; every later one is online too."""
        return int(self.city_start[-1])

    def in_city(self, generator: np.random.Generator, city: Integers) -> Integers:
        """For each given city a merchant with a shop there, by popularity."""
        return self._draw(generator, self.city_start[city], self.city_start[city + 1])

    def online(self, generator: np.random.Generator, count: int) -> Integers:
        """`count` online merchants, by popularity."""
        return self._draw(
            generator, np.full(count, self.first_online, dtype=np.int64), np.full(count, self.count, dtype=np.int64)
        )

    def worth_stealing(self, generator: np.random.Generator, count: int, *, city: int = NONE) -> Integers:
        """`count` merchants a fraudster would choose for what can be resold: in a city, or online if none is given."""
        first, last = (
            (self.first_online, self.count) if city == NONE else (self.city_start[city], self.city_start[city + 1])
        )
        weights = CATEGORY_RESALE[self.category[first:last]] + 0.05
        weights *= np.sqrt(np.diff(self.cumulative_popularity[first : last + 1]))
        return generator.choice(np.arange(first, last), count, p=weights / weights.sum())

    def _draw(self, generator: np.random.Generator, first: Integers, last: Integers) -> Integers:
        low = self.cumulative_popularity[first]
        high = self.cumulative_popularity[last]
        point = low + generator.random(len(first)) * (high - low)
        found = np.searchsorted(self.cumulative_popularity, point, side="right") - 1
        # Rounding can put the point on the upper edge, which belongs to the next city.
        return np.clip(found, first, last - 1).astype(np.int64)


def build_merchants(options: SimulationOptions) -> Merchants:
    """Merchants by the options' seed. Every category has one and every city has a shop."""
    generator = generator_for(options.seed, Component.MERCHANTS)
    count = options.merchants
    visits = np.array([category.visits for category in CATEGORIES])
    # Square root: rare categories have fewer visits for each merchant, not only fewer merchants.
    weights = np.sqrt(visits) / np.sqrt(visits).sum()
    category = generator.choice(len(CATEGORIES), count, p=weights)
    category[: len(CATEGORIES)] = np.arange(len(CATEGORIES))
    online_share = np.array([entry.online for entry in CATEGORIES])[category]
    online = generator.random(count) < online_share
    online[: len(CATEGORIES)] = online_share[: len(CATEGORIES)] >= 0.5
    city = _cities(generator, online)
    order = np.argsort(np.where(online, len(CITIES), city), kind="stable")
    category, online, city = category[order], online[order], city[order]
    # Some merchants are chosen for their category, then for being popular.
    per_merchant = visits[category] / np.bincount(category, minlength=len(CATEGORIES))[category]
    popularity = per_merchant * (1.0 + generator.pareto(POPULARITY_INDEX, count).clip(max=50.0))
    latitude, longitude = scatter(generator, CITY_LATITUDE[city], CITY_LONGITUDE[city], 4.0)
    return Merchants(
        category=category.astype(np.int64),
        city=np.where(online, NONE, city).astype(np.int64),
        country=CITY_COUNTRY[city].astype(np.int64),
        latitude=np.where(online, np.nan, latitude),
        longitude=np.where(online, np.nan, longitude),
        mean_euro=CATEGORY_MEAN_EURO[category] * np.exp(generator.normal(0.0, 0.35, count)),
        fixed_price=generator.random(count) < np.where(np.isin(category, ONE_PRICE), 0.6, 0.03),
        charges_euro=online & (generator.random(count) < CHARGES_EURO_SHARE),
        cumulative_popularity=np.concatenate([[0.0], np.cumsum(popularity)]),
        city_start=np.searchsorted(np.where(online, len(CITIES), city), np.arange(len(CITIES) + 1)).astype(np.int64),
        terminals_each=options.terminals_per_merchant,
        cash_machines=np.flatnonzero(category == CASH_MACHINE).astype(np.int64),
        digital_goods=np.flatnonzero(online & np.isin(category, DIGITAL_GOODS)).astype(np.int64),
    )


def _cities(generator: np.random.Generator, online: Booleans) -> npt.NDArray[np.int64]:
    """A city for every merchant (of its seat, where it is online); every city gets a shop first."""
    city = generator.choice(len(CITIES), len(online), p=VISIT_WEIGHTS / VISIT_WEIGHTS.sum()).astype(np.int64)
    shops = np.flatnonzero(~online)
    city[shops[: len(CITIES)]] = np.arange(len(CITIES))[: len(shops)]
    return city
