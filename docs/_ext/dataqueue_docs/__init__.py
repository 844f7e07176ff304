"""What the documentation draws from the code: the lifecycle, the settings, the commands and the methods."""
