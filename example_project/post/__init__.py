"""The post: the letters that jobs write, kept in the database instead of being sent."""
