"""What strangers send: work that may have to be stopped, so it runs in processes that can be killed."""
