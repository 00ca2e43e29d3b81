"""What is installed: hooks, the registry of components, data sets by name."""
