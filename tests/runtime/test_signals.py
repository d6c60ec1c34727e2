"""The process: what the garbage collector goes through.  Signals are tests of real processes."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from x121.runtime.signals import freeze_gc, freeze_imports


class Node:
    """Garbage, when nobody but itself holds it."""

    def __init__(self) -> None:
        self.itself = self


class FreezeTests(SynchronousTestCase):
    """freeze_imports() and freeze_gc()."""

    def test_imports(self) -> None:
        """A collection doesn't scan what was there before."""
        self.addCleanup(gc.unfreeze)
        kept = Node()
        freeze_imports()
        self.assertFalse(any(one is kept for one in gc.get_objects()))
        after = weakref.ref(Node())
        gc.collect()
        self.assertIsNone(after())

    def test_passes_over(self) -> None:
        """What was there before is looked at no more; what comes after is, as ever."""
        self.addCleanup(gc.unfreeze)
        before = weakref.ref(Node())
        kept = Node()
        freeze_gc()
        self.assertIsNone(before())
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertFalse(any(one is kept for one in gc.get_objects()))
        after = weakref.ref(Node())
        gc.collect()
        self.assertIsNone(after())
