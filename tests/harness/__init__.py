"""What the crash and fault tests share: a ledger of effects, checkers, and real worker processes."""
