"""What people would use instead, as they would write it: one short script each.

Every script takes ``LOG CUTOFF OUT`` and does the same: read the days that arrived before the
cutoff, leave out private listens and damaged rows, count the listens of each listener and track,
train ALS with 64 factors for 15 iterations on ``log(1 + listens)``, and write 30 tracks that the
listener has never heard for everyone with a listen in the last 28 days: Parquet with ``user_id``
and ``track_ids``, best first. Its last line of output is JSON: the seconds of each step.
``spark_candidates`` is the step of ``spark_als`` that is measured alone, too.
"""
