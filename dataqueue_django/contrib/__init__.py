"""Carriers for tools that not every project has: name them in DATAQUEUE_CONTEXT."""
