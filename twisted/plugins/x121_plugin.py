"""Makes ``twistd x121`` known to twistd, and the reactor that it may run on."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

x121 = ServiceMaker(
    "x121",
    "x121.tap",
    "A backend foundation: HTTP and PostgreSQL on one reactor",
    "x121",
)

x121_reactor = Reactor(
    "x121",
    "x121.reactor.reactor",
    "asyncio over uvloop, whose own transports serve TCP and UNIX ports (needs uvloop)",
)
