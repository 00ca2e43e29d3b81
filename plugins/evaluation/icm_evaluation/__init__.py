"""Measuring: rate and quality of a pipeline over a data set, comparisons, reports."""
