"""Reading other people's listening logs, and cleaning one day of them.

`list_log` says what there is. A log in ``date=YYYY-MM-DD/`` folders is cleaned folder by folder
with `clean_day`; one without is first divided by `split_dump`. Every row read is kept, a
duplicate, or in quarantine with a `Reason`; `read_again` looks for what was refused and can be read
after a fix.
"""

from recsys.listens._catalogue import catalogue_files, read_catalogue
from recsys.listens._changed import changed_files
from recsys.listens._clean import CleanReport, clean_day
from recsys.listens._formats import FORMATS, Format, guess_format
from recsys.listens._inventory import Inventory, LogFile, find_files, is_day, is_numbered, list_log
from recsys.listens._reasons import Reason
from recsys.listens._requeue import ADDED, SETTLED, Again, CleanedDay, read_again
from recsys.listens._sample import Sample, sample_log, suggest_mapping
from recsys.listens._split import DumpReport, split_dump

__all__ = [
    "ADDED",
    "FORMATS",
    "SETTLED",
    "Again",
    "CleanReport",
    "CleanedDay",
    "DumpReport",
    "Format",
    "Inventory",
    "LogFile",
    "Reason",
    "Sample",
    "catalogue_files",
    "changed_files",
    "clean_day",
    "find_files",
    "guess_format",
    "is_day",
    "is_numbered",
    "list_log",
    "read_again",
    "read_catalogue",
    "sample_log",
    "split_dump",
    "suggest_mapping",
]
