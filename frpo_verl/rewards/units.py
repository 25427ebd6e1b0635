r"""What a value is measured in: `15\text{ cm}^2` is 15, in square centimetres."""

import re
from typing import NamedTuple

_NAMES = {
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "millimetre": "mm millimeter millimeters millimetre millimetres",
    "centimetre": "cm centimeter centimeters centimetre centimetres",
    "metre": "m meter meters metre metres",
    "kilometre": "km kilometer kilometers kilometre kilometres",
    "gram": "g gram grams",
    "kilogram": "kg kilogram kilograms",
    "pound": "lb lbs pound pounds",
    "ounce": "oz ounce ounces",
    "litre": "l liter liters litre litres",
    "millilitre": "ml milliliter milliliters millilitre millilitres",
    "second": "s sec secs second seconds",
    "minute": "min mins minute minutes",
    "hour": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "yr yrs year years",
    "dollar": "dollar dollars usd",
    "cent": "cent cents",
    "degree": "degree degrees deg",
    "radian": "radian radians rad",
    "morning": "am",
    "afternoon": "pm",
}
_KNOWN = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings.split()}
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}
_DENIALS = set("not no or and is isn't if than at least most about approximately wrong incorrect false".split())
_NUMBERS = set(
    "plus minus squared cubed factorial divided multiplied zero one two three four five six seven eight nine ten "
    "eleven twelve twenty thirty forty fifty dozen dozens hundred thousand million billion trillion hundreds "
    "thousands millions billions half halves third thirds fourths fifth fifths sixth sixths seventh sevenths "
    "eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths millionth millionths".split()
)
_MOST_WORDS = 4

_IN_WORDS = re.compile(r"(?P<value>.*\S)\s*\\text\{\s*(?P<words>[A-Za-z][A-Za-z' .-]*)\}(?:\^\{?(?P<power>[23])\}?)?")
_BARE = re.compile(r"(?P<value>.*(?:\d |[})]))(?P<words>[A-Za-z]{2,}(?: [A-Za-z]{2,})*)(?:\^\{?(?P<power>[23])\}?)?")
_ANGLE_WITHIN = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DOLLARS = re.compile(r"(?P<sign>[-+]?)\\\$\s*(?P<value>.+)")


class Measured(NamedTuple):
    """A value and its unit.

    Attributes:
        value: what is left without the unit.
        unit: a known unit, with its power (`inch^2`), `%`, or None where there is none or none that is known.
    """

    value: str
    unit: str | None


def split(text: str) -> Measured:
    r"""Takes the unit off an answer.

    Args:
        text: an answer as `spelling.plain` writes it.

    Returns:
        Value and unit. Words that cannot be a unit (`\text{ is wrong}`) stay where they are, and so do the degrees of
        an angle whose sine it is.
    """
    found = _split(text)
    return Measured(text, None) if found.unit == "degree" and _ANGLE_WITHIN.search(found.value) else found


def _split(text: str) -> Measured:
    if dollars := _DOLLARS.fullmatch(text):
        return Measured(dollars["sign"] + dollars["value"], "dollar")
    for ending, unit in (("%", "%"), (r"^\circ", "degree")):
        if text.endswith(ending) and text != ending:
            return Measured(text.removesuffix(ending).strip(), unit)
    if (said := _IN_WORDS.fullmatch(text)) and _may_be_unit(said["words"]):
        return Measured(said["value"], _known(said["words"], said["power"]))
    if (said := _BARE.fullmatch(text)) and (unit := _known(said["words"], said["power"])):
        return Measured(said["value"].strip(), unit)
    return Measured(text, None)


def clash(one: str | None, other: str | None) -> bool:
    """Whether two units cannot stand for the same: a unit that is missing or not known fits every other.

    Args:
        one: a unit.
        other: another.

    Returns:
        True if both are known and differ.
    """
    return one is not None and other is not None and one != other


def denies(words: str) -> bool:
    """Whether words deny what they are said about, or leave it open, which a unit or a name does not.

    Args:
        words: what stands in a `\\text{}`.

    Returns:
        True if one of them does.
    """
    return not _DENIALS.isdisjoint(_each(words))


def _may_be_unit(words: str) -> bool:
    return len(words.split()) <= _MOST_WORDS and not denies(words) and _NUMBERS.isdisjoint(_each(words))


def _each(words: str) -> list[str]:
    return re.findall("[a-z']+", words.lower())


def _known(words: str, power: str | None) -> str | None:
    said = words.lower().replace(".", "").split()
    if len(said) == 2 and said[0] in _POWERS:
        power, said = _POWERS[said[0]], said[1:]
    if len(said) != 1 or said[0] not in _KNOWN:
        return None
    return _KNOWN[said[0]] + (f"^{power}" if power else "")
