"""Findings of a verification, as values and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FindingStatus = Literal["ok", "failed", "unfinished", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check at one execution target.

    name: of the check and the target. backend, device, dtype: of the target.
    status: `ok` if all its cases are right, `failed` at the first that is wrong, `unfinished` if
        time ran out before some of them, `skipped` if there was nothing to check.
    seen, cases: the numbers of cases that were run, and of all.
    detail: the mismatch, or the parts that were left out, in words; may be empty.
    case: the smallest failing case. show: a command, or a line of Python, that runs it.
    """

    name: str
    backend: str
    device: str
    dtype: str
    status: FindingStatus
    seen: int
    cases: int
    detail: str = ""
    case: str = ""
    show: str = ""

    def __str__(self) -> str:
        return "\n".join([f"{self.name} … {self.verdict}", *self.detail_lines])

    @property
    def verdict(self) -> str:
        """Return the status in a few words."""
        count = "1 case" if self.cases == 1 else f"{self.cases} cases"
        if self.status == "failed":
            return f"FAILED at {self.case}" if self.case else "FAILED"
        if self.status == "skipped":
            return f"skipped: {self.detail}"
        if self.status == "unfinished" and not self.seen:
            return "unfinished: no time for it"
        if self.status == "unfinished":
            return (
                f"unfinished: right in {self.seen} of {count}, the others not reached in the time"
            )
        return f"ok, {count}"

    @property
    def detail_lines(self) -> list[str]:
        """Return the detail and the command as indented lines."""
        lines = [] if self.status == "skipped" or not self.detail else [f"  {self.detail}"]
        return [*lines, f"  {self.show}"] if self.show else lines


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one model; false if a check failed, or nothing could be checked."""

    model: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Return True if something was checked and nothing failed."""
        return not self.failed and any(f.status != "skipped" and f.seen for f in self.findings)

    @property
    def complete(self) -> bool:
        """Return True if no check ran out of time."""
        return all(finding.status != "unfinished" for finding in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Return the failed checks."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """Return the last line of the text."""
        if self.failed:
            count = "1 check" if len(self.failed) == 1 else f"{len(self.failed)} checks"
            return f"{self.model}: {count} failed"
        if not self.ok:
            return f"{self.model}: nothing was checked"
        if self.complete:
            return f"{self.model}: nothing is off"
        unfinished = sum(finding.status == "unfinished" for finding in self.findings)
        checks = "1 check is" if unfinished == 1 else f"{unfinished} checks are"
        return f"{self.model}: nothing is off in what was reached; {checks} unfinished"

    def document(self) -> Mapping[str, object]:
        """Return the document that `rnnc verify --json` prints."""
        return {
            "model": self.model,
            "ok": self.ok,
            "complete": self.complete,
            "seconds": round(self.seconds, 2),
            "checks": [
                {name: getattr(finding, name) for name in Finding.__slots__}
                for finding in self.findings
            ],
        }
