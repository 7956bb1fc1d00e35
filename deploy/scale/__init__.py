"""The system at a size that no machine here has: arithmetic from measured figures, and three small models.

``python -m deploy scale`` prints them. ``settings`` holds what is assumed and what was measured,
``capacity`` and ``costs`` the arithmetic, ``queueing`` how full machines may be, ``caching`` what a cache
keeps away from a store, and ``canary`` how soon a loss shows.
"""
