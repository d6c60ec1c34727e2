"""How fast x121 is, and beside what it stands on: ``python -m bench``."""
