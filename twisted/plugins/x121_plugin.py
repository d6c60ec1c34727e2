"""Makes ``twistd x121`` known to twistd."""

from twisted.application.service import ServiceMaker

x121 = ServiceMaker(
    "x121",
    "x121.tap",
    "A backend foundation: HTTP and PostgreSQL on one reactor",
    "x121",
)
