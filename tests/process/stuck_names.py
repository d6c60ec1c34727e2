"""``twistd`` with name servers that stop answering once a file ``outage`` is there.

A lookup that gets no answer leaves a file ``stuck``.  Before, every name is this machine.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

_look_up = socket.getaddrinfo


def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    """Look up as the C library does: it blocks a thread, which nothing can end."""
    if Path("outage").exists():
        Path("stuck").touch()
        time.sleep(600)
    return _look_up("127.0.0.1", *args, **kwargs)


if __name__ == "__main__":
    socket.getaddrinfo = getaddrinfo  # before anything has imported it
    from twisted.scripts.twistd import run

    run()
