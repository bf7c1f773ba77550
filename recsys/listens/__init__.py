"""Reading other people's listening logs, and cleaning one day of them.

`list_log` says what there is. A log in ``date=YYYY-MM-DD/`` folders is cleaned folder by folder
with `clean_day`; one without is first divided by `split_dump`. Every row read is kept, a
duplicate, or in quarantine with a `Reason`.
"""

from recsys.listens._changed import changed_files
from recsys.listens._clean import CleanReport, clean_day
from recsys.listens._inventory import Inventory, LogFile, list_log
from recsys.listens._reasons import Reason
from recsys.listens._split import DumpReport, split_dump

__all__ = [
    "CleanReport",
    "DumpReport",
    "Inventory",
    "LogFile",
    "Reason",
    "changed_files",
    "clean_day",
    "list_log",
    "split_dump",
]
