"""matplotlib's SVG made fit for a page: no name twice, the page's colours and fonts, a title."""

import re

from frpo_verl.evaluation.svg import for_page

TEXT = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="9pt" height="9pt" version="1.1">
 <metadata><a/></metadata>
 <defs><style type="text/css">*{x: y}</style></defs>
 <g id="axes_1"><path id="m1" d="M 1.23456 -7.891 L 3 4.5" style="stroke: #0072b2"/>
  <use xlink:href="#m1" x="1.999" y="2" style="fill: #303438"/></g>
 <g id="series-12-line"><path clip-path="url(#p1)" d="M 0 0"/></g>
 <text style="font-size: 11px; font-family: 'DejaVu Sans', sans-serif; fill: #303438" x="1">a &lt; b</text>
 <defs><clipPath id="p1"><rect/></clipPath></defs>
</svg>"""
COLOURS = {"#0072b2": "var(--s0)", "#303438": "var(--ink)"}


def test_it_is_a_picture_of_the_page():
    svg = for_page(TEXT, COLOURS, "drift & more", "f3")
    assert svg.startswith("<svg ") and "<metadata" not in svg and "<style" not in svg
    assert 'role="img"' in svg and 'aria-labelledby="f3-title"' in svg
    assert '<title id="f3-title">drift &amp; more</title>' in svg
    assert not re.search(r'\s(width|height|version)="', svg)
    # names that something refers to stay, and a series is a class
    assert set(re.findall(r'\sid="([^"]+)"', svg)) == {"f3-title", "m1", "p1"}
    assert '<g class="m12">' in svg
    assert 'style="stroke: var(--s0)"' in svg and "#0072b2" not in svg and "#303438" not in svg
    assert 'style="font-size: 11px; fill: var(--ink)"' in re.sub(" +", " ", svg)
    assert 'd="M 1.23 -7.89 L 3 4.5"' in svg and 'x="2"' in svg
    assert ">a &lt; b</text>" in svg and "> <" not in svg
