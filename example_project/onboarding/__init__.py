"""The welcome of new people: one job writes them letters, days apart."""
