"""What a run found: ``metrics.json``, one self-contained page, a terminal table."""
