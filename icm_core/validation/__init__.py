"""Input from outside: strict JSON, and what is wrong with it in a sentence."""
