"""Customers, merchants and fraud with known ground truth, from a seed."""
