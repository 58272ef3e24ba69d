"""What each model gives away: attacks, grading, rates, floors, residuals, verdict."""
