"""A pipeline at work: built from its spec, filled with weights, encoding and decoding."""
