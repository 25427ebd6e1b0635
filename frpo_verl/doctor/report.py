"""Holds what the doctor found, as text for people and as JSON for scripts."""

import json
from typing import NamedTuple

from frpo_verl.preflight import sentences


class Section(NamedTuple):
    """One part of the report.

    Attributes:
        title: its heading, and its key in JSON.
        rows: what was found, by name.
        problems: what keeps FRPO from running, a sentence each.
        warnings: what runs but is probably not meant, a sentence each.
    """

    title: str
    rows: dict[str, str]
    problems: list[str] = []
    warnings: list[str] = []


class Report(NamedTuple):
    """The whole report: its sections in the order in which they are printed."""

    sections: list[Section]

    @property
    def problems(self) -> list[str]:
        """Returns what keeps FRPO from running, each sentence once."""
        return list(dict.fromkeys(sentence for section in self.sections for sentence in section.problems))

    @property
    def warnings(self) -> list[str]:
        """Returns what runs but is probably not meant, each sentence once."""
        return list(dict.fromkeys(sentence for section in self.sections for sentence in section.warnings))

    def as_json(self) -> str:
        """Returns one JSON object with `ok`, `sections`, `warnings` and `problems`."""
        found = {
            "ok": not self.problems,
            "sections": {section.title: section.rows for section in self.sections},
            "warnings": self.warnings,
            "problems": self.problems,
        }
        return json.dumps(found, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Returns the sections in aligned columns, then warnings, then problems, numbered."""
        return "\n\n".join([*map(_table, self.sections), sentences.as_text(self.warnings, self.problems)])


def _table(section: Section) -> str:
    width = max(map(len, section.rows), default=0)
    return "\n".join([section.title, *(f"  {name:<{width}}  {value}" for name, value in section.rows.items())])
