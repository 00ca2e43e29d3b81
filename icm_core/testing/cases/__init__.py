"""Cases: what it takes to build a component of each contract, and to feed it."""
