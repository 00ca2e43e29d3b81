"""The demonstration: real photographs through a pipeline, as numbers, pictures and one page.

Its command is imported at every start of the program, so nothing here imports networks.
"""
