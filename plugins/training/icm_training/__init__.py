"""Training of the shipped weights: ``python -m icm_training --help``."""
