"""Views for a platform's cron and monitoring: JSON, guarded by one secret, bounded in time."""
