"""Policies: conditions as typed expressions, compiled once and evaluated over a batch."""
