"""The use cases: what a student may ask for, and how it is gathered. Knows no HTTP.

`AimsService` is the entrance. `AllAttendancePage`, `SubjectPage` and `OneCallPages`
make the pages from what `StudentRecords` keeps and `StudentCalls` fetches. A
`Gathering` holds what has arrived of a page so far.
"""

from .gathering import Gathering
from .use_cases import AimsService

__all__ = ["AimsService", "Gathering"]
