"""Checks: what a contract asks, one function each."""
