"""The ``.icm`` file: its bytes, its layers sent apart, fingerprints and control hashes."""
