"""Makes ``twistd x121-bench`` known to twistd, where its folder is on ``PYTHONPATH``."""

from twisted.application.service import ServiceMaker

x121_bench = ServiceMaker(
    "x121 with the routes of its benchmark", "bench.ours.tap", "x121, to be measured", "x121-bench"
)
