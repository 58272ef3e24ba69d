"""A fictional world and a tiny model that learns it."""
