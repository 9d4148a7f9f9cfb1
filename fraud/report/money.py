"""Money stopped and money lost: the one definition, which docs/money.md explains to people."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypedDict

from fraud.decision import ACTIONS, ALLOW, BLOCK
from fraud.report.batch import FRAUD, LEGITIMATE
from fraud.transaction import Transaction

# People and terminals try a failed payment again within minutes; the same amount at the same place hours later is a
# new purchase.
RETRY_WITHIN_MS = 3_600_000
# A payment is open for an hour. This many of the newest ones are held, which is an hour of frauds and alerts at more
# than a million of them a day. It is a count, not a time, so that one wrong clock in a file can't close every payment.
OPEN_PAYMENTS_MAX = 65_536
# A column that somebody mistook for the scenario (an id, a free text) must not fill the memory.
SCENARIOS_MAX = 200
OTHER_SCENARIOS = "(other)"

STOPPED, LOST, AFTER_BLOCK = range(3)
OUTCOMES = ("stopped", "lost", "after_block")

PaymentKey = tuple[str, str, str, int, str]


class PaymentTotal(TypedDict):
    """Payments, each counted once, and their money in minor units of the base currency."""

    payments: int
    amount_minor: int


@dataclass(slots=True)
class _Tally:
    """Payments and money for each outcome (or action)."""

    payments: list[int]
    amounts_minor: list[int]

    @classmethod
    def of_size(cls, size: int) -> _Tally:
        return cls([0] * size, [0] * size)

    def move(self, amount_minor: int, *, to: int, away_from: int | None = None) -> None:
        self.payments[to] += 1
        self.amounts_minor[to] += amount_minor
        if away_from is not None:
            self.payments[away_from] -= 1
            self.amounts_minor[away_from] -= amount_minor

    def total(self, index: int) -> PaymentTotal:
        return {"payments": self.payments[index], "amount_minor": self.amounts_minor[index]}


@dataclass(slots=True)
class _Payment:
    """An open payment: its latest attempt, what has become of it, and where it is counted."""

    timestamp_ms: int
    outcome: int
    amount_minor: int
    tallies: tuple[_Tally, ...]


def payment_key(transaction: Transaction) -> PaymentKey:
    """Return what all attempts of one payment share: customer, payee, amount and currency.

    The payee is the merchant, else the counterparty, else the terminal. Without any of them the amount alone tells.
    """
    if transaction.merchant_id is not None:
        kind, payee = "merchant", transaction.merchant_id
    elif transaction.counterparty_id is not None:
        kind, payee = "counterparty", transaction.counterparty_id
    else:
        kind, payee = "terminal", transaction.terminal_id or ""
    return (transaction.user_id, kind, payee, transaction.amount_minor, transaction.currency)


def card_key(transaction: Transaction) -> tuple[str, str]:
    """Return what a block closes: the card, or the customer's account where there is no card."""
    if transaction.card_id is not None:
        return ("card", transaction.card_id)
    return ("user", transaction.user_id)


@dataclass(slots=True)
class MoneyLedger:
    """Counts fraudulent payments as stopped, lost or after block, and legitimate ones that were hindered.

    Fed one transaction at a time in arrival order, so batches can't change the result. Memory: one entry for each
    compromised card that was blocked, `OPEN_PAYMENTS_MAX` payments of each kind, one tally for each day and scenario.
    """

    open_payments_max: int = OPEN_PAYMENTS_MAX
    _frauds: OrderedDict[PaymentKey, _Payment] = field(default_factory=OrderedDict)
    _hindered: OrderedDict[PaymentKey, _Payment] = field(default_factory=OrderedDict)
    _blocked_cards: set[tuple[str, str]] = field(default_factory=set)
    _fraud_total: _Tally = field(default_factory=lambda: _Tally.of_size(len(OUTCOMES)))
    _hindered_total: _Tally = field(default_factory=lambda: _Tally.of_size(len(ACTIONS)))
    _by_day: dict[int, _Tally] = field(default_factory=dict)
    _by_scenario: dict[str, _Tally] = field(default_factory=dict)

    def add(
        self,
        transaction: Transaction,
        base_amount_minor: int,
        action_code: int,
        label: int,
        day: int = 0,
        scenario: str | None = None,
    ) -> None:
        """Count one decided transaction. `day` and `scenario` say under what else a new payment is listed.

        Only labelled frauds and hindered legitimate payments matter here: others change nothing and need not be passed.
        """
        authorised = transaction.auth_result != "declined"
        if label == FRAUD:
            if authorised:
                self._add_fraud(transaction, base_amount_minor, action_code, day, scenario)
            if action_code == BLOCK:
                self._blocked_cards.add(card_key(transaction))
        elif label == LEGITIMATE and action_code != ALLOW and authorised:
            self._add_hindered(transaction, base_amount_minor, action_code)

    def _add_fraud(
        self, transaction: Transaction, amount_minor: int, action_code: int, day: int, scenario: str | None
    ) -> None:
        closed = card_key(transaction) in self._blocked_cards
        payment = self._retried(self._frauds, transaction)
        if payment is None:
            outcome = AFTER_BLOCK if closed else LOST if action_code == ALLOW else STOPPED
            payment = _Payment(transaction.timestamp_ms, outcome, amount_minor, self._tallies(day, scenario))
            self._open(self._frauds, transaction, payment)
            for tally in payment.tallies:
                tally.move(amount_minor, to=outcome)
        elif not closed and action_code == ALLOW and payment.outcome == STOPPED:
            payment.outcome = LOST
            for tally in payment.tallies:
                tally.move(payment.amount_minor, to=LOST, away_from=STOPPED)

    def _add_hindered(self, transaction: Transaction, amount_minor: int, action_code: int) -> None:
        payment = self._retried(self._hindered, transaction)
        if payment is None:
            payment = _Payment(transaction.timestamp_ms, action_code, amount_minor, ())
            self._open(self._hindered, transaction, payment)
            self._hindered_total.move(amount_minor, to=action_code)
        elif action_code > payment.outcome:
            self._hindered_total.move(payment.amount_minor, to=action_code, away_from=payment.outcome)
            payment.outcome = action_code

    def _tallies(self, day: int, scenario: str | None) -> tuple[_Tally, ...]:
        tallies = [self._fraud_total, self._by_day.setdefault(day, _Tally.of_size(len(OUTCOMES)))]
        if scenario is not None:
            known = scenario in self._by_scenario or len(self._by_scenario) < SCENARIOS_MAX
            name = scenario if known else OTHER_SCENARIOS
            tallies.append(self._by_scenario.setdefault(name, _Tally.of_size(len(OUTCOMES))))
        return tuple(tallies)

    @staticmethod
    def _retried(payments: OrderedDict[PaymentKey, _Payment], transaction: Transaction) -> _Payment | None:
        """Return the open payment that `transaction` tries again, moved to its time; None for a new one."""
        key = payment_key(transaction)
        payment = payments.get(key)
        if payment is None or abs(transaction.timestamp_ms - payment.timestamp_ms) > RETRY_WITHIN_MS:
            return None
        payment.timestamp_ms = transaction.timestamp_ms
        payments.move_to_end(key)
        return payment

    def _open(self, payments: OrderedDict[PaymentKey, _Payment], transaction: Transaction, payment: _Payment) -> None:
        key = payment_key(transaction)
        payments[key] = payment
        payments.move_to_end(key)
        if len(payments) > self.open_payments_max:
            payments.popitem(last=False)

    def outcomes(self) -> dict[str, PaymentTotal]:
        """Return fraudulent payments as `stopped`, `lost` and `after_block`."""
        return {name: self._fraud_total.total(index) for index, name in enumerate(OUTCOMES)}

    def day_outcomes(self, day: int) -> dict[str, PaymentTotal]:
        """Return the outcomes of the fraudulent payments whose first attempt was listed under `day`."""
        tally = self._by_day.get(day) or _Tally.of_size(len(OUTCOMES))
        return {name: tally.total(index) for index, name in enumerate(OUTCOMES)}

    def scenario_outcomes(self) -> dict[str, dict[str, PaymentTotal]]:
        """Return the outcomes for each scenario, in order of name."""
        return {
            scenario: {name: tally.total(index) for index, name in enumerate(OUTCOMES)}
            for scenario, tally in sorted(self._by_scenario.items())
        }

    def hindered(self) -> dict[str, PaymentTotal]:
        """Return legitimate payments that were challenged, reviewed or blocked, each under its most severe action."""
        return {name: self._hindered_total.total(code) for code, name in enumerate(ACTIONS) if code != ALLOW}


def value_recall(outcomes: dict[str, PaymentTotal]) -> float | None:
    """Return the share of fraud money stopped, stopped / (stopped + lost); None where there was no such fraud."""
    stopped, lost = outcomes["stopped"]["amount_minor"], outcomes["lost"]["amount_minor"]
    return stopped / (stopped + lost) if stopped + lost else None
