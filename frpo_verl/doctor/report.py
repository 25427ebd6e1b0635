"""What the doctor found, as text for people and as JSON for scripts."""

import json
import textwrap
from typing import NamedTuple

WIDTH = 120


class Section(NamedTuple):
    """One part of the report.

    Attributes:
        title: its heading, and its key in JSON.
        rows: what was found, by name.
        problems: what keeps FRPO from running, a sentence each.
        warnings: what runs but is doubtful, a sentence each.
    """

    title: str
    rows: dict[str, str]
    problems: list[str] = []
    warnings: list[str] = []


class Report(NamedTuple):
    """The whole report.

    Attributes:
        sections: its parts, in the order in which they are printed.
    """

    sections: list[Section]

    @property
    def problems(self) -> list[str]:
        """What keeps FRPO from running; each sentence once."""
        return list(dict.fromkeys(sentence for section in self.sections for sentence in section.problems))

    @property
    def warnings(self) -> list[str]:
        """What runs but is doubtful; each sentence once."""
        return list(dict.fromkeys(sentence for section in self.sections for sentence in section.warnings))

    def as_json(self) -> str:
        """The report for scripts.

        Returns:
            One JSON object with `ok`, `sections`, `warnings` and `problems`.
        """
        found = {
            "ok": not self.problems,
            "sections": {section.title: section.rows for section in self.sections},
            "warnings": self.warnings,
            "problems": self.problems,
        }
        return json.dumps(found, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """The report for people.

        Returns:
            The sections in aligned columns, then warnings, then problems, numbered.
        """
        return "\n\n".join([*map(_table, self.sections), self.as_sentences()])

    def as_sentences(self) -> str:
        """What is doubtful and what is wrong, for people.

        Returns:
            Warnings, then problems, numbered.
        """
        parts = [_numbered("Warnings", self.warnings)] if self.warnings else []
        parts.append(_numbered("Problems", self.problems) if self.problems else "No problems found.")
        return "\n\n".join(parts)


def _table(section: Section) -> str:
    width = max(map(len, section.rows), default=0)
    return "\n".join([section.title, *(f"  {name:<{width}}  {value}" for name, value in section.rows.items())])


def _numbered(title: str, sentences: list[str]) -> str:
    lines = [title]
    for number, sentence in enumerate(sentences, start=1):
        mark = f"  {number}. "
        # A key or a path that is broken in two can no longer be copied.
        lines.append(
            textwrap.fill(
                sentence,
                WIDTH,
                initial_indent=mark,
                subsequent_indent=" " * len(mark),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)
