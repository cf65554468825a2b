"""The invented college as the platform knows it: enrolment, rows and tokens."""

import time
from functools import cached_property
from hashlib import blake2b
from typing import Any

from . import tokens
from .enrolment import Course, Enrolment, Student
from .records import card_rows, course_rows
from .switches import ASSUMED, Switches

__all__ = ["College", "Course", "Student"]


class College(Enrolment):
    """An enrolment with the platform's rows and tokens for it.

    ::

        college = College(students=50, weeks=4)
        student = college.student(0)
        college.course_files(student)  # rows as the platform sends them
    """

    def course_files(
        self, student: Student, switches: Switches = ASSUMED
    ) -> list[dict[str, Any]]:
        """Return the rows of docs/platform.rst 2.2, with the summary and Total row."""
        return course_rows(self, student, switches)

    def cards(
        self, student: Student, cf_id: int, switches: Switches = ASSUMED
    ) -> list[dict[str, Any]]:
        """Return the student's records of a course (docs/platform.rst 2.3), ascending.

        Their counts are the truth that every total must equal. Empty for a course
        that is not the student's.
        """
        course = self.course(student, cf_id)
        return [] if course is None else card_rows(self, student, course, switches)

    def token(
        self,
        student: Student,
        life: int = tokens.LIFE_SECONDS,
        issued: int | None = None,
        serial: int = 0,
    ) -> str:
        """Return a token of `life` seconds from `issued`; by default that is when the
        first one was asked for, so that the same arguments give the same token at any
        time.

        Tokens that differ in nothing but `serial` are two logins of one second.
        """
        born = self._opened if issued is None else issued
        jti = self._digest(f"{student.index}/{born}/{serial}", 8).hex()
        claims = tokens.Claims(student.id, tokens.ISSUER, born, born + life, born, jti)
        return tokens.sign(claims, self._key)

    def claims(self, token: str) -> tokens.Claims | None:
        """Return what a token of ours claims, expired or not; None if forged."""
        return tokens.verify(token, self._key)

    @cached_property
    def _opened(self) -> int:
        return int(time.time())

    @cached_property
    def _key(self) -> bytes:
        return self._digest("token key", 32)

    def _digest(self, text: str, size: int) -> bytes:
        return blake2b(f"{self.seed}/{text}".encode(), digest_size=size).digest()
