"""`python -m tests.process.faults` writes docs/faults-and-logs.rst out of what was
printed; test_faults.py compares the two.
"""

from .page import PAGE, page, provoked

PAGE.write_text(page(list(provoked())), encoding="utf-8")
