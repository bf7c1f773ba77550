"""The report of an edition: one HTML page that needs nothing else, and that runs nothing.

`write_report` shows whatever stages there are, so an edition that a gate refused has its page, too.
"""

from recsys.report._page import REPORT_FILE, environment, write_report

__all__ = ["REPORT_FILE", "environment", "write_report"]
