"""The nightly digest: a job that nobody enqueues, because a schedule does."""
