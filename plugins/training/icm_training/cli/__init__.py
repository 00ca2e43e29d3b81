"""Commands that training adds to ``icm``."""
