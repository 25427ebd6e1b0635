"""Turns matplotlib's SVG into one that stands in a page: its colours, its fonts, its names."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_SERIES = re.compile(r"series-(\d+)-")
_FONT = re.compile(r"font(?:-family)?:[^;]*'[^;]*;?|font-family:[^;]*;?")


def for_page(text: str, colours: Mapping[str, str], title: str, key: str) -> str:
    """Returns the SVG with `colours` replaced, each series in a class of its own, and a title for screen readers.

    Names that nothing refers to are taken out, since a page has several pictures and each of its names once.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(text)
    used = set(re.findall(r"#([\w-]+)", " ".join(value for part in root.iter() for value in part.attrib.values())))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for part in root.iter():
        _rewrite(part, colours, used)
    for unit in ("width", "height", "version"):
        root.attrib.pop(unit, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{key}-title"}
    name = ElementTree.Element(f"{{{_SVG}}}title", {"id": f"{key}-title"})
    name.text = title
    root.insert(0, name)
    return ElementTree.tostring(root, encoding="unicode")


def _rewrite(part: ElementTree.Element, colours: Mapping[str, str], used: set[str]) -> None:
    part.text, part.tail = (text if text and text.strip() else None for text in (part.text, part.tail))
    name = part.get("id", "")
    if (series := _SERIES.match(name)) is not None:
        part.set("class", f"m{series[1]}")
    if name and name not in used:
        del part.attrib["id"]
    for key, value in part.attrib.items():
        if key == "style":
            value = _FONT.sub("", value)
            for colour, replacement in colours.items():
                value = value.replace(colour, replacement)
        if key in ("d", "transform", "x", "y"):
            value = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
        part.set(key, value)
