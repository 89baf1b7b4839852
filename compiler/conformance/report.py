"""What a verification has found, as values and as lines to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FindingStatus = Literal["ok", "failed", "unfinished", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check at one place.

    name: what was checked, and where. backend, device, dtype: that place.
    status: `ok` when all its cases are right, `failed` at the first that is wrong, `unfinished`
        when time was over before some of them, `skipped` when there was nothing to check.
    seen, cases: how many cases it was looked at in, and how many there are.
    detail: what is off, or what was left out, in words; empty where there is nothing to say.
    case: the smallest case found that shows it. show: a command, or a line of Python, that runs it.
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
        """Its status in a few words."""
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
        """Further lines, indented."""
        said = [] if self.status == "skipped" or not self.detail else [f"  {self.detail}"]
        return [*said, f"  {self.show}"] if self.show else said


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one model; false where something failed, or nothing could be checked."""

    model: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether something was checked, and nothing was off in all that was."""
        return not self.failed and any(f.status != "skipped" and f.seen for f in self.findings)

    @property
    def complete(self) -> bool:
        """Whether no check ran out of time."""
        return all(finding.status != "unfinished" for finding in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """The last line."""
        if self.failed:
            count = "1 check" if len(self.failed) == 1 else f"{len(self.failed)} checks"
            return f"{self.model}: {count} failed"
        if not self.ok:
            return f"{self.model}: nothing was checked"
        if self.complete:
            return f"{self.model}: nothing is off"
        open_ = sum(finding.status == "unfinished" for finding in self.findings)
        checks = "1 check is" if open_ == 1 else f"{open_} checks are"
        return f"{self.model}: nothing is off in what was reached; {checks} unfinished"

    def document(self) -> Mapping[str, object]:
        """The report as `rnnc verify --json` prints it."""
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
