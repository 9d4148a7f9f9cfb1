"""Test weeks and what each may learn from: never anything that was not known when the week began."""

from __future__ import annotations

from dataclasses import dataclass

from training.metrics.judged import DAY_MS


@dataclass(frozen=True)
class Split:
    """One test period with its training period; UTC milliseconds, ends exclusive.

    Learned from: rows of [train_from_ms, train_to_ms) with the labels known by `test_from_ms`. Customers with a fraud
    at or after `compromised_from_ms` are left out of the test from the day on which it is known.
    """

    train_from_ms: int
    train_to_ms: int
    test_from_ms: int
    test_to_ms: int
    compromised_from_ms: int | None


@dataclass(frozen=True)
class WeeklyProtocol:
    """How test periods slide over the data.

    `delay_days` lie between training and test, since labels take that long. `train_days` of training, or None: all
    there is from `data_from_ms` on. `removed_days`: customers are left out for frauds from that many days before the
    test on, None for never; the reference of the Handbook removes frauds from the first of 7 training days on, which is
    7 days and the delay before.
    """

    first_test_ms: int
    count: int
    data_from_ms: int
    delay_days: float
    train_days: float | None = None
    test_days: float = 7.0
    removed_days: float | None = 14.0

    def splits(self) -> list[Split]:
        """The splits in order of time, one after the other without a gap."""
        return [self._split(self.first_test_ms + number * _ms(self.test_days)) for number in range(self.count)]

    def _split(self, test_from_ms: int) -> Split:
        train_to_ms = test_from_ms - _ms(self.delay_days)
        from_ms = self.data_from_ms if self.train_days is None else train_to_ms - _ms(self.train_days)
        return Split(
            train_from_ms=max(from_ms, self.data_from_ms),
            train_to_ms=train_to_ms,
            test_from_ms=test_from_ms,
            test_to_ms=test_from_ms + _ms(self.test_days),
            compromised_from_ms=None if self.removed_days is None else test_from_ms - _ms(self.removed_days),
        )


def _ms(days: float) -> int:
    return round(days * DAY_MS)
