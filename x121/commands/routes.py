"""``x121 routes``."""

from __future__ import annotations

from x121.commands.base import Command, idle_state, say

__all__ = ["Routes"]


class Routes(Command):
    """``x121 routes``: print what is served where."""

    longdesc = "Prints every route: its method, path and handler, and what that takes and gives."

    def run(self) -> int:
        """Print the table; no database is asked."""
        # Not before it is wanted: Klein imports a reactor.
        from x121.middleware import stack_names
        from x121.runtime.routes import all_routes
        from x121.runtime.site import make_resource
        from x121.web.listing import list_routes

        application, loaded = self.load()
        state = idle_state(application, loaded.config)
        routes = all_routes(application, state)
        wrappers = stack_names(make_resource(routes, application, state))
        say(f"Every request passes {' > '.join(wrappers)}, and comes to its handler.\n")
        rows = [("METHOD", "PATH", "HANDLER", "TYPES")]
        rows += [(r.method, r.path, r.handler, r.types) for r in list_routes(routes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            say("  ".join(cells).rstrip())
        return 0
