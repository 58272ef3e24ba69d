"""Runs side by side: the arms of a config that compares, and the table, page and file of what they came to."""
