"""Handlers in processes of their own: child interpreters that are kept warm, and killed with all they started."""
