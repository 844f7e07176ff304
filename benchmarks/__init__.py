"""Programs that print how fast the queue is, beside a raw loop on the same database in the same run."""
