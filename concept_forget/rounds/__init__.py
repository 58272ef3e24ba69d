"""Rounds of forgetting: what still leaks is forgotten in the next, until the verdict passes or nothing is gained."""
