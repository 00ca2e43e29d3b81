"""Pipeline specs: the model, files that extend others, changes from outside, look-up, JSON Schema."""
