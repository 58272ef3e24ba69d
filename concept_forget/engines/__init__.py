"""Text in; text and log-probabilities out."""
