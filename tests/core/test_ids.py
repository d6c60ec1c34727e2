"""Ids: of the form that RFC 9562 asks for, each given once."""

from __future__ import annotations

import os
import uuid

from twisted.trial.unittest import SynchronousTestCase

from x121.core.ids import make_id


class IdTests(SynchronousTestCase):
    """make_id()."""

    def test_form(self) -> None:
        """An id is a random UUID, version 4, written as uuid writes it."""
        for text in (make_id() for _ in range(300)):
            parsed = uuid.UUID(text)
            self.assertEqual(str(parsed), text)
            self.assertEqual((parsed.version, parsed.variant), (4, uuid.RFC_4122))

    def test_random_bits(self) -> None:
        """Every digit that is random takes every value that it may have."""
        ids = [make_id() for _ in range(2000)]
        for place in range(36):
            allowed = {8: "-", 13: "-", 14: "4", 18: "-", 19: "89ab", 23: "-"}.get(place)
            self.assertEqual({one[place] for one in ids}, set(allowed or "0123456789abcdef"))

    def test_each_once(self) -> None:
        """No id is given twice."""
        self.assertEqual(len({make_id() for _ in range(10_000)}), 10_000)

    def test_after_a_fork(self) -> None:
        """A child process gives other ids than its parent, whatever was prepared before."""
        make_id()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, " ".join(make_id() for _ in range(100)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            theirs = set(pipe.read().split())
        self.assertEqual(len(theirs), 100)
        self.assertFalse(theirs & {make_id() for _ in range(100)})
