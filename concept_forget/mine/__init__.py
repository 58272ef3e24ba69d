"""What the corpus says about a concept, and what is near it without being about it."""
