"""Fitting and judging models on the features that the service computes."""
