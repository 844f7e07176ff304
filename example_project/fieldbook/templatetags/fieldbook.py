"""How the pages write numbers."""

from django import template

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    """Return a whole number with commas, as in 3,376."""
    return f"{number:,}"
