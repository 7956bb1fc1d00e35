"""What stands between this machine and a run: every connection, version and permission, and what to do."""
