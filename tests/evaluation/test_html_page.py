"""The page: whole, of nothing but itself, with everything that is to be read; its colours are legible."""

import re
import sys
from xml.etree import ElementTree

import pytest
from evaluation.one_run import COMMAND, DUMPS, STEPS, read_of

from frpo_verl.evaluation import figures, html_page
from frpo_verl.evaluation.command_line import UNRECORDED
from frpo_verl.evaluation.compared import compare
from frpo_verl.evaluation.tokens import Response

pytest.importorskip("matplotlib")


def page_of(tmp_path, runs, **about):
    html_page.write(compare(runs), tmp_path / "a" / "page.html", **about)
    return (tmp_path / "a" / "page.html").read_text(encoding="utf-8")


def figures_of(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", page, re.DOTALL)]


def test_a_page_loads_nothing_and_runs_nothing(tmp_path):
    page = page_of(tmp_path, {"frpo": [read_of(), read_of(name="runs/b")], "none": [read_of(dumps={})]})
    assert set(re.findall(r'(?:src|href)="([^"#]*)"', page)) == {"data:,"}
    assert "<script" not in page and "@import" not in page and "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert set(re.findall(r"url\(([^)])", page)) == {"#"}


def test_the_page_of_a_run_has_its_table_its_pictures_their_numbers_and_its_command(tmp_path):
    page = page_of(tmp_path, {"a": [read_of()]}, correct_at=0.5)
    assert "<h1>Qwen2.5-0.5B-Instruct on gsm8k, estimator frpo</h1>" in page
    assert '<th scope="row">entropy</th><td>1.500</td><td>1</td><td>1.250</td>' in page
    assert "correct from score 0.5 on" in page and COMMAND in page and "data.seed=7" in page
    # pass@1, pass@8, reward, drift, entropy, pass@k by k; each a picture with a title and a table
    assert len(figures_of(page)) == page.count("<figure>") == page.count('aria-label="numbers of ') == 6
    assert 'Numbers<span class="muted"> of actor/entropy</span>' in page
    assert "In no log: response length, β, future term&#39;s share, future term along the response." in page
    assert "Show in all pictures" not in page and "Remarks on the data" not in page
    assert "<dt>frpo-verl</dt>" in page


def test_each_method_is_a_class_that_its_box_hides(tmp_path):
    page = page_of(tmp_path, {"frpo": [read_of(), read_of()], "<none>": [read_of(dumps={})]})
    assert "<h1>3 runs of 2 methods</h1>" in page
    assert 'id="show0" checked' in page and "body:has(#show1:not(:checked)) .m1 { display: none; }" in page
    assert "frpo (2 seeds)</label>" in page and "&lt;none&gt;</label>" in page and "<none>" not in page
    drift = figures_of(page)[3]
    assert [part.get("class") for part in drift.iter() if part.get("class")] == ["m0", "m1"]
    assert "Not measured: &lt;none&gt;." in page
    assert "Lines are means over the seeds, bands their range." in page


def test_no_name_is_there_twice_and_every_reference_has_its_name(tmp_path):
    page = page_of(tmp_path, {"frpo": [read_of()], "none": [read_of(dumps={}, notes=["x"])]})
    names = re.findall(r'\sid="([^"]+)"', page)
    assert len(names) == len(set(names))
    used = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([\w-]+)', page)
    assert set(used) <= set(names) and len(used) > 20


def test_remarks_are_on_the_page_with_a_link_to_them(tmp_path):
    page = page_of(tmp_path, {"a": [read_of(notes=["log, line 9: not JSON; left out", "another"])]})
    assert '<a href="#notes"' in page and "2 remarks on the data" in page
    assert "<p>log, line 9: not JSON; left out.</p>" in page


def test_a_log_without_a_command_has_the_name_of_the_run(tmp_path):
    page = page_of(tmp_path, {"console": [read_of()._replace(command=UNRECORDED)]})
    assert "<h1>console</h1>" in page and "<dd>not recorded</dd>" in page and "<pre>" not in page


def test_the_size_of_a_page_is_that_of_its_runs_not_of_their_steps(tmp_path):
    steps = [STEPS[1]._replace(step=n) for n in range(1, 1001)]
    page = page_of(tmp_path, {"a": [read_of(steps, DUMPS)]})
    assert len(page) < 120_000


def test_a_response_is_shown_token_by_token_with_its_three_parts(tmp_path):
    tokens, outcome, advantage = ["<b>", " two\n", "…"], [0.5, 0.5, None], [0.75, 0.375, None]
    response = Response(20, "1 & 1", 1.0, 0.05, 9, tokens, outcome, advantage)
    page = page_of(tmp_path, {"a": [read_of(tokens=[response])]})
    assert "<h3>Step 20, score 1.000</h3>" in page and "<pre>1 &amp; 1</pre>" in page
    assert "9 tokens, of which the first 3 are shown; β = 0.05" in page
    spans = re.findall(r'<span class="(\w+)" style="--v:(\d+)" title="([^"]*)">([^<]*)</span>', page)
    assert [span[:3] for span in spans] == [
        *[("up", "100", "+0.75"), ("up", "50", "+0.375"), ("none", "0", "not sampled")],
        *[("up", "100", "+0.5"), ("up", "100", "+0.5"), ("none", "0", "not sampled")],
        # the future part: 0.25 and -0.125
        *[("up", "100", "+0.25"), ("down", "50", "-0.125"), ("none", "0", "not sampled")],
    ]
    assert [span[3] for span in spans[:3]] == ["&lt;b&gt;", " two⏎\n", "…"]
    assert "(full colour: ±0.25)" in page
    assert "<td>+0.375</td><td>+0.5</td><td>-0.125</td>" in page


def test_of_several_methods_the_first_seed_with_tokens_is_shown_folded(tmp_path):
    response = Response(20, "p", 1.0, 0.05, 1, ["t"], [0.5], [0.5])
    page = page_of(tmp_path, {"a": [read_of(), read_of(tokens=[response])], "b": [read_of()], "c": [read_of()]})
    assert page.count('class="response"') == 1
    assert "<details open><summary>a</summary>" in page and "<summary>b</summary>" not in page
    assert "Token by token" not in page_of(tmp_path, {"b": [read_of()]})


def test_of_many_methods_fewer_tokens_are_shown(tmp_path):
    response = Response(20, "p", 1.0, 0.05, 900, ["t"] * 900, [0.5] * 900, [0.5] * 900)

    def shown(methods):
        page = page_of(tmp_path, {str(n): [read_of([STEPS[1]], {}, tokens=[response])] for n in range(methods)})
        return re.findall(r"of which the first (\d+) are shown", page)

    assert shown(1) == ["400"] and shown(2) == ["200"] * 2 and shown(6) == ["100"] * 6


def luminance(colour: str) -> float:
    """Computes WCAG 2's relative luminance of #rrggbb."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_line_stands_out_from_a_light_and_from_a_dark_page(tmp_path):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    page = page_of(tmp_path, {"a": [read_of()]})
    light, dark = re.findall(r"--card: (#\w+)", page)
    light = "#ffffff" if light == "#fff" else light
    for on_light, on_dark in zip(figures.PALETTE, html_page.DARK, strict=True):
        # WCAG 2.1, 1.4.11: 3:1 for what a picture consists of
        assert contrast(on_light, light) >= 3 and contrast(on_dark, dark) >= 3


def test_without_jinja_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(figures.CannotDraw, match="a page needs jinja2: pip install jinja2"):
        html_page.write(compare({"a": [read_of()]}), tmp_path / "a.html")
