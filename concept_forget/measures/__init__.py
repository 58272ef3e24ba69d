"""From replies, attempts and token log-probabilities to numbers: graders, rates with intervals, verdicts."""
