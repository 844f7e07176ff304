"""A small site whose slow work is done by dataqueue_django."""
