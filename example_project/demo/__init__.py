"""`manage.py demo`: the site and its worker in one command, and a check of the whole from outside."""
