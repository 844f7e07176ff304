"""Running jobs: the processor, its slots, its heartbeat, and the supervisor of several processes."""
