"""The verb that makes a model forget: objectives, validation, and the stage that runs them."""
