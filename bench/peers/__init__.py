"""The others: each serves what x121 serves, in a module that a minute is enough to read.

They run in an environment of their own (``bench/requirements.txt``), so nothing here imports
x121 or Twisted but those that stand for Twisted without x121.
"""

__all__: list[str] = []
