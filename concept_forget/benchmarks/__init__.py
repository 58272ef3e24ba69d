"""Benchmarks of the field: their scores as their authors define them."""
