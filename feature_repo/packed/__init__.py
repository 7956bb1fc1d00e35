"""Feast online stores with one packed value per entity and feature view, and the engine that fills them.

Feast's own stores keep a row, or a field, per *feature*, each a protobuf: that layout is their cost, not the
database. Here a view's features of an entity are one value, from Arrow columns and read by one lookup.

The rules that hold in every one of them:

- **Last write wins by event time**, then by creation time: an older value never replaces a newer one, whoever
  writes and in whichever order. Of two equal times the later write wins, so that a correction arrives.
- **A half-written view is not readable as whole.** A value says whether it came as one truth of its own
  (``push``, ``write_to_online_store``, a stream) or as part of a materialization. The former is readable at
  once. The latter is readable once the view's first materialization has ended, which its *mark* says; until
  then such entities are as unknown. Refreshing a whole view replaces row by row, each true as of its time.
- **Interrupted, the same command again resumes**: a value that is already there costs a lookup, not a write.
- **Time to live is honoured**: a value older than the view's ``ttl`` is null with the status
  ``OUTSIDE_MAX_AGE``; its event timestamp is kept, so that its age can be told.
- **A changed schema never shows a wrong value**: every value names the schema that it was written by; a
  feature which that schema lacks, or has with another type, is missing (``NOT_FOUND``, null).
"""
