"""TEMPORARY"""

from __future__ import annotations


class Moment:
    def __init__(self, transaction, minor_units):
        self.transaction = transaction
        self.timestamp_ms = transaction.timestamp_ms
        self.amount = transaction.base_amount_minor
        self.minor_units = minor_units
        self.entity = None
