"""Things that a customer uses, such as merchants and devices: known ones in bounded memory, and which each row had."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

# What may be remembered of a customer, so that a scripted one cannot fill the memory. A person uses some dozens of
# merchants in a quarter; with fewer slots the weekly bakery would come back as new. Least recently used goes first.
KNOWN_MERCHANTS = 64
KNOWN_OTHERS = 16
# Rows are bytes up to this many different things in the windows, as nearly always.
_BYTE_MAX = 255


def touch(first_days: dict[str, int], thing: str, day: int) -> None:
    """Remember that `thing` was used: `first_days` are the days of first use, least recently used first.

    Days count from the customer's first one: small integers, which Python shares.
    """
    first_day = first_days.pop(thing, -1)
    if first_day < 0:
        if len(first_days) >= KNOWN_OTHERS:
            del first_days[next(iter(first_days))]
        first_day = day
    first_days[thing] = first_day


def renamed(first_days: dict[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """`first_days` with the things in `names` under their new names: the earlier day of two that become one."""
    found: dict[str, int] = {}
    for thing, first_day in first_days.items():
        name = names.get(thing, thing)
        found[name] = min(first_day, found.pop(name, first_day))
    return found


class ThingColumn:
    """The things of one kind that a customer knows, by `codes`, and the code of each row of its history in `rows`.

    `codes` has those known, least recently used first. Code 0 in a row is no thing. `first_days[code - 1]` is the day
    of first use. A thing that is forgotten while rows may still have it keeps its code among the `former` ones. Codes
    are those from 1 on, without gaps.
    """

    __slots__ = ("codes", "first_days", "former", "rows")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.first_days = array("H")
        self.former: dict[str, int] | None = None
        self.rows: bytearray | array[int] = bytearray()

    def code_in_rows(self, thing: str | None) -> int:
        """The code that rows with `thing` have, 0 for None, -1 if no row can have it."""
        if thing is None:
            return 0
        code = self.codes.get(thing, -1)
        if code < 0 and self.former is not None:
            return self.former.get(thing, -1)
        return code

    def touch(self, thing: str, day: int, capacity: int) -> bool:
        """Remember that `thing` was used; True when it is new. `thing` has a code from now on."""
        codes = self.codes
        code = codes.pop(thing, 0)
        if code:
            codes[thing] = code
            return False
        if len(codes) >= capacity:
            self._forget_one()
        code = self._free_code(thing)
        codes[thing] = code
        if code > len(self.first_days):
            self.first_days.append(day)
        else:
            self.first_days[code - 1] = day
        return True

    def _forget_one(self) -> None:
        oldest = next(iter(self.codes))
        if self.former is None:
            self.former = {}
        self.former[oldest] = self.codes.pop(oldest)

    def _free_code(self, thing: str) -> int:
        """A code for a new thing: its own from before, one of a thing that no row has any more, or the next one."""
        former = self.former
        if former is None:
            return len(self.codes) + 1
        reused = thing if thing in former else None
        if reused is None:
            reused = next((name for name, code in former.items() if code not in self.rows), None)
        if reused is not None:
            code = former.pop(reused)
            if not former:
                self.former = None
            return code
        code = len(self.codes) + len(former) + 1
        if code > _BYTE_MAX and isinstance(self.rows, bytearray):
            self.rows = array("I", list(self.rows))
        return code

    def rename(self, names: Mapping[str, str]) -> None:
        """Put the things in `names` under their new names, as if they had always had them."""
        for thing in self.codes.keys() & names.keys():
            name = names[thing]
            if name in self.codes:
                self._join(thing, name)
            else:
                self.codes = {name if known == thing else known: code for known, code in self.codes.items()}
        for thing in (self.former or {}).keys() & names.keys():
            name = names[thing]
            if self.former is not None and name not in self.codes and name not in self.former:
                self.former[name] = self.former.pop(thing)

    def _join(self, thing: str, name: str) -> None:
        """Two known things are one: `thing` loses its rows, and its code is free."""
        lost, code = self.codes.pop(thing), self.codes[name]
        for place, row in enumerate(self.rows):
            if row == lost:
                self.rows[place] = code
        self.first_days[code - 1] = min(self.first_days[code - 1], self.first_days[lost - 1])
        if self.former is None:
            self.former = {}
        self.former[thing] = lost
