"""From what still leaks back to the corpus: which of its sentences teach it, and where they stand."""
