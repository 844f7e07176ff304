"""Refunds: a job asks somebody for a decision, waits for it without holding anything, and books the refund once."""
