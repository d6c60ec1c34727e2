"""Command ``x121 routes``."""

from __future__ import annotations

from x121.commands.base import Command, idle_state, say

__all__ = ["Routes"]


class Routes(Command):
    """Prints all routes: ``x121 routes``."""

    longdesc = "Prints every route: its method, path, handler, parameters and result."

    def run(self) -> int:
        """Print the table; needs no database."""
        # Imported only when needed: Klein imports a reactor.
        from x121.middleware import stack_names
        from x121.runtime.routes import all_routes
        from x121.runtime.site import make_resource
        from x121.web.listing import list_routes

        application, loaded = self.load()
        state = idle_state(application, loaded.config)
        routes = all_routes(application, state)
        middleware = stack_names(make_resource(routes, application, state))
        say(f"Every request passes {' > '.join(middleware)}, then its handler.\n")
        rows = [("METHOD", "PATH", "HANDLER", "TYPES")]
        rows += [(r.method, r.path, r.handler, r.types) for r in list_routes(routes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            say("  ".join(cells).rstrip())
        return 0
