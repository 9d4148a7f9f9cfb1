"""The customers, merchants and devices with the most fraud and alerts, in bounded memory."""

from __future__ import annotations

from typing import TypedDict

# How many are shown, and how many are followed so that these few are right.
SHOWN = 15
FOLLOWED = 10_000


class RiskEntry(TypedDict):
    """One customer, merchant or device. Money in minor units of the base currency."""

    id: str
    alerts: int
    alert_amount_minor: int
    frauds: int | None
    fraud_amount_minor: int | None
    highest_score: float | None


class Riskiest:
    """Follows ids that have alerts or frauds; forgets the least risky ones when there are more than it may follow.

    Fed one transaction at a time in arrival order, so batches can't change the result. Nothing is forgotten under
    2 x `followed` ids, and the counts are exact; beyond, an id that was forgotten starts again from zero.
    """

    def __init__(self, followed: int = FOLLOWED) -> None:
        self._followed = followed
        # id -> [frauds, fraud money, alerts, alert money, highest score in millionths]
        self._entries: dict[str, list[int]] = {}
        self.exact = True

    def add(self, identifier: str | None, amount_minor: int, *, fraud: bool, alert: bool, units: int) -> None:
        """Count one transaction that is a fraud, an alert or both. None is no id: not counted."""
        if identifier is None:
            return
        entry = self._entries.get(identifier)
        if entry is None:
            if len(self._entries) >= 2 * self._followed:
                self._entries = dict(self._ranked()[: self._followed])
                self.exact = False
            entry = self._entries[identifier] = [0, 0, 0, 0, -1]
        if fraud:
            entry[0] += 1
            entry[1] += amount_minor
        if alert:
            entry[2] += 1
            entry[3] += amount_minor
        entry[4] = max(entry[4], units)

    def _ranked(self) -> list[tuple[str, list[int]]]:
        """Return entries by frauds, fraud money, alerts, alert money, all falling; then by id."""
        return sorted(self._entries.items(), key=lambda item: ([-number for number in item[1][:4]], item[0]))

    def top(self, *, labelled: bool) -> list[RiskEntry]:
        """Return the `SHOWN` riskiest, most frauds first, then most fraud money, alerts, alert money, then by id."""
        return [
            {
                "id": identifier,
                "alerts": alerts,
                "alert_amount_minor": alert_money,
                "frauds": frauds if labelled else None,
                "fraud_amount_minor": fraud_money if labelled else None,
                "highest_score": units / 1_000_000 if units >= 0 else None,
            }
            for identifier, (frauds, fraud_money, alerts, alert_money, units) in self._ranked()[:SHOWN]
        ]
