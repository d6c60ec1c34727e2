"""Password of the embedded PostgreSQL: generated once, kept beside its data, always required.

Users who can read the data can read it: the user that PostgreSQL runs as, and root.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

from x121.db.embedded.files import read_file, replace_file

__all__ = ["Credentials", "scram_verifier"]

_FILE_NAME = "x121.password"
_TRUSTING_LINE = re.compile(
    rb"^([ \t]*(?:local|host\w*)[ \t].*?[ \t])trust(?=[ \t]*(?:#.*)?$)", re.M
)
_ITERATIONS = 1  # more would slow down guessing, which is hopeless here, and every connection


class Credentials:
    """Password file and ``pg_hba.conf`` of one data folder.  All methods block."""

    def __init__(self, data_dir: Path) -> None:
        self._password_path = data_dir / _FILE_NAME
        self._hba_path = data_dir / "pg_hba.conf"

    def read(self) -> str:
        """Return the password; "" if there is none yet."""
        with suppress(FileNotFoundError):
            return read_file(self._password_path).decode("ascii")
        return ""

    def make(self) -> str:
        """Return the password; generate it if there is none yet."""
        password = self.read()
        if not password:
            password = secrets.token_urlsafe(32)
            replace_file(self._password_path, password.encode())
        return password

    def is_required(self) -> bool:
        """Return True if PostgreSQL will ask for the password after it has read its files."""
        return not _TRUSTING_LINE.search(read_file(self._hba_path))

    def require(self) -> None:
        """Make PostgreSQL ask for the password after it next reads its files."""
        lines = read_file(self._hba_path)
        replace_file(self._hba_path, _TRUSTING_LINE.sub(rb"\1scram-sha-256", lines))


def scram_verifier(password: str) -> str:
    """Return the verifier that PostgreSQL stores; unlike the password, it may appear in a log.

    https://www.postgresql.org/docs/current/catalog-pg-authid.html documents its form, RFC 5802
    section 3 its contents.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (salt, hashlib.sha256(client_key).digest(), server_key)
    salt_text, stored, server = (b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored}:{server}"
