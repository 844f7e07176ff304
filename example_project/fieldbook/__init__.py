"""Fieldbook: a book of airports, filled from CSV files by jobs."""
