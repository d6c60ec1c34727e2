"""Documentation that is made from what features declare."""
