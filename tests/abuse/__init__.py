"""Hostile clients against a real server: nobody else may notice them, and nothing may pile up."""
