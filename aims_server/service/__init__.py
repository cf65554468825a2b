"""The use cases: what a student may ask for, and how it is gathered. Knows no HTTP.

`AimsService` answers (`use_cases`). The pages are made by `AllAttendancePage`,
`SubjectPage` and `OneCallPages` of what `StudentRecords` keeps and `StudentCalls`
fetches; a `Gathering` is what has arrived of a page so far.
"""

from .gathering import Gathering
from .use_cases import AimsService

__all__ = ["AimsService", "Gathering"]
