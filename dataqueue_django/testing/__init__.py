"""For tests: of projects that use this package, and of stores written for it."""
