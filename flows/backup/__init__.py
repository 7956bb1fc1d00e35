"""Backups of a home: all that cannot be computed again, with checksums, made while everything runs."""


class BackupError(RuntimeError):
    """A backup cannot be made or restored; the message names the remedy, and nothing was changed."""
