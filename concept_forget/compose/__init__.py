"""From all that is known about the concepts to five sets of rows with three walls between them."""
