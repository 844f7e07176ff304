"""The pure core: records, the lifecycle table and functions that turn (job, outcome) into a Change.

Standard library only. No clock, no I/O, no Django.
"""
