"""What a run can be checked by: packed into one file, and every number of it counted again."""
