"""What a browser may do with a page of ours."""

from __future__ import annotations

__all__ = ["CONTENT_SECURITY_POLICY"]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Run the scripts and use the styles of this server, call it, and show small pictures in them."""
