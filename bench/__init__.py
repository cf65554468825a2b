"""How fast, how small and how steady: measured beside what one would use instead.

Every figure is a ratio within one run on one machine, because machines differ.
"""
