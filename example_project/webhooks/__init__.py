"""Webhooks: many jobs to few hosts, none of which is asked too much at once, too often, or before its turn."""
