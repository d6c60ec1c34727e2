"""How fast x121 is beside a bare Klein site: ``python -m bench``."""
