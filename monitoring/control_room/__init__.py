"""The control room's page: what the control API tells, for people; it acts by that API alone."""
