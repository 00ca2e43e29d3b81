"""Measurements: points from files that were written, comparisons between systems, plots and reports.

Commands: ``icm evaluate``, ``icm compare``, ``icm report``, ``icm reproduce``.
"""
