"""What is installed: hooks, the registry of components, data sets by name."""

GROUP = "icm.plugins"
"""Entry-point group of plugins."""
