"""Docstrings, as readers of the documentation see them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from x121.builtin.docs.markdown import as_markdown, as_text, first_sentence


class MarkdownTests(SynchronousTestCase):
    def test_as_markdown(self) -> None:
        """Roles become the names that they stand for, and all else stays."""
        text = "A :class:`~x121.errors.NotFound`, :func:`f` or ``x``.\n\n- one\n- two"
        expected = "A `NotFound`, `f` or ``x``.\n\n- one\n- two"
        self.assertEqual(as_markdown(text), expected)

    def test_as_text(self) -> None:
        """Text is one line without markup."""
        self.assertEqual(as_text("The :class:`~a.B`\nof ``/x``"), "The B of /x")

    def test_first_sentence(self) -> None:
        """A sentence ends with a stop, but not within a word; what follows a semicolon is left."""
        for text, expected in (
            ("One.  Two.", "One."),
            ("One; ``detail`` two.", "One."),
            ("One (RFC 9110 section 15.5.13).", "One (RFC 9110 section 15.5.13)."),
            ("One\nline", "One line."),
            ("See :class:`~a.B`: it says", "See `B`."),
        ):
            self.assertEqual(first_sentence(text), expected)
