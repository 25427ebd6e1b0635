"""Prints warnings and problems for people."""

import textwrap

WIDTH = 120


def as_text(warnings: list[str], problems: list[str]) -> str:
    """Returns warnings, then problems, numbered and wrapped."""
    parts = [_numbered("Warnings", warnings)] if warnings else []
    parts.append(_numbered("Problems", problems) if problems else "No problems found.")
    return "\n\n".join(parts)


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
