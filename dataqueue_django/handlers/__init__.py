"""Handlers: the code for each job type, and how a payload is fitted to it."""

from .registry import Handler, Registry, registry

__all__ = ["Handler", "Registry", "registry"]
