"""A person's yes, bound to the exact arguments."""
