"""The edition explorer: pages for people beside the read service. See docs/explorer.md."""

from recsys.explorer._pages import routes

__all__ = ["routes"]
