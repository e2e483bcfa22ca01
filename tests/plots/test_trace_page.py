"""The page of a trace: its script reads the trace, and nothing in a token can break out of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from traces import ALPHABET, SAMPLERS, long_trace, make, view

from ordo.plots.trace_page import trace_fragment, trace_page
from ordo.plots.trace_rows import visible

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>'\"&\u2028"


class Elements(HTMLParser):
    """Every element with its attributes, and the texts of scripts of data."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.data, self.reading = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.reading = ("class", "data") in attrs

    def handle_data(self, data):
        if self.reading:
            self.data.append(json.loads(data))
            self.reading = False


def read(html):
    return Elements(html).data[0]


def replay(data, number):
    """(symbol, step, log-probability, rank) of every position in the end, by the events alone."""
    row, stands, order, e = data["rows"][number], {}, [], 0
    for step, size in enumerate(row["sizes"]):
        for _ in range(size):
            position, symbol = row["position"][e], row["symbol"][e]
            if symbol < 0:
                del stands[position]
                order.remove(position)
            else:
                assert position not in stands
                stands[position] = (data["symbols"][symbol], step, row["log_prob"][e])
                order.append(position)
            e += 1
    assert e == len(row["position"])
    return {p: (*what, order.index(p)) for p, what in stands.items()}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("known", [False, True])
def test_the_page_holds_the_trace(name, known):
    lengths = torch.tensor([16, 9, 1]) if known else None
    trace, symbols = make(name, 3, known=known, lengths=lengths)
    data = read(trace_page(trace, symbols, view()))
    for i, own in enumerate(symbols):
        row, stands = data["rows"][i], replay(data, i)
        assert len(row["given"]) == len(own)
        for p, symbol in enumerate(own):
            if trace.step[i, p] < 0:
                assert data["symbols"][row["given"][p]] == symbol
                assert p not in stands
            else:
                assert row["given"][p] == -1
                assert stands[p] == (
                    symbol,
                    trace.step[i, p],
                    pytest.approx(trace.log_prob[i, p].item(), abs=1e-4),
                    trace.rank[i, p],
                )
        assert row["calls"] == trace.calls[i]
        assert row["total"] == pytest.approx(trace.log_prob[i].sum().item(), abs=1e-4)
        remasked = trace.remasked[i].tolist()
        assert row["remasked"] == (remasked[: len(own)] if any(remasked) else [])


def test_intermediate_tokens_are_those_of_the_history():
    """The events of the page give what the history says stood after every step."""
    for name in ("remdm", "path_planning"):
        trace, symbols = make(name, 1)
        data = read(trace_page(trace, symbols, view()))
        row, e, stands, wanted, seen_revised = data["rows"][0], 0, {}, {}, False
        for step, size in enumerate(row["sizes"]):
            for _ in range(size):
                stands[row["position"][e]] = row["symbol"][e]
                e += 1
            mine = trace.history.step == step
            for p, t in zip(
                trace.history.position[mine].tolist(),
                trace.history.token[mine].tolist(),
                strict=True,
            ):
                wanted[p] = t
            shown = {p: data["symbols"][s] for p, s in stands.items() if s >= 0}
            assert shown == {p: ALPHABET[t] for p, t in wanted.items() if t >= 0}
            seen_revised |= any(t < 0 for t in wanted.values())
        assert seen_revised


def test_given_everything_and_impossible_tokens():
    trace, symbols = make(n=1, known=True)
    nothing = replace(
        trace, step=trace.step * 0 - 1, rank=trace.rank * 0 - 1, log_prob=trace.log_prob * 0
    )
    assert replay(read(trace_page(nothing, symbols)), 0) == {}
    trace.log_prob[0, int(trace.order[0, -1])] = -torch.inf
    row = read(trace_page(trace, symbols))["rows"][0]
    assert row["log_prob"][-1] is None
    assert row["total"] is None


def test_hostile_strings_stay_text():
    trace, symbols = make(n=2)
    symbols[0][3] = symbols[1][5] = HOSTILE
    settings = {"title": HOSTILE, "sampler": HOSTILE, "note": HOSTILE, "labels": [HOSTILE, "b"]}
    mild = view(title="t", sampler="s", note="n", labels=["a", "b"])
    plain = Elements(trace_page(trace, make(n=2)[1], mild))
    hostile = Elements(trace_page(trace, symbols, view(**settings)))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert HOSTILE in hostile.data[0]["symbols"]
    assert replay(hostile.data[0], 0)[3][0] == HOSTILE
    names = [HOSTILE, *map(str, range(15))]
    assert read(trace_page(trace, symbols, view(kind="table", names=names)))["names"] == names


def test_nothing_from_elsewhere_and_no_ids():
    trace, symbols = make(n=2)
    html = trace_page(trace, symbols)
    for tag, attributes in Elements(html).elements:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
        assert "id" not in attributes, "fragments may stand together"
        assert tag not in ("iframe", "img")
    assert not re.search(r"https?:|@import|url\(", html)
    assert "{{" not in html
    fragment = trace_fragment(trace, symbols)
    assert fragment in html, "the page is the fragment in a shell"
    assert fragment.count("<section") == 1


def test_same_input_same_page_and_file_size():
    trace, symbols = make("remdm")
    assert trace_page(trace, symbols, view()) == trace_page(trace, symbols, view())
    html = trace_page(*long_trace(8))
    assert len(html.encode()) < 300_000
    assert len(read(html)["rows"]) == 8


def test_legends_name_what_is_there():
    trace, symbols = make(n=1)
    plain = trace_page(trace, symbols)
    assert 'class="token given"' not in plain
    assert 'class="token again"' not in plain
    trace, symbols = make("remdm", 1, known=True)
    both = trace_page(trace, symbols, view())
    assert 'class="token given"' in both
    assert 'class="token again"' in both


@pytest.mark.parametrize(
    ("symbol", "spaces", "shown"),
    [
        ("a", True, "a"), (" the", True, "␣the"), (" a b ", False, "␣a b␣"), ("  ", False, "␣␣"),
        ("", True, "∅"), ("\n", True, "↵"), ("a\tb", False, "a⇥b"), ("\x00", True, "⟨00⟩"),
        ("\u200b", True, "⟨200B⟩"), ("\u0301", True, "◌\u0301"), ("é", True, "é"),
        ("\ud800", True, "⟨D800⟩"),
    ],
)  # fmt: skip
def test_symbols_are_visible(symbol, spaces, shown):
    assert visible(symbol, spaces) == shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": []}, "at least one row"),
        ({"symbols": [["a"] * 16] * 3}, "the trace has 2 rows, not row 2"),
        ({"symbols": [["a"] * 17]}, "row 0 has 17 symbols, the trace 16 positions"),
        ({"symbols": [["a"] * 15]}, "later positions were decoded"),
        ({"kind": "grid"}, "choose text, table, board"),
        ({"kind": "table"}, "names, one for each column"),
        ({"kind": "table", "names": ["a"]}, "name 16 columns, got 1"),
        ({"kind": "board"}, "columns, the cells of a line"),
        ({"kind": "board", "columns": 5}, "16 positions do not make lines of 5"),
        ({"box": 2}, "box, the cells"),
        ({"labels": ["a"]}, "labels must name 2 rows, got 1"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    trace, symbols = make()
    with pytest.raises(ValueError, match=message):
        trace_page(trace, change.pop("symbols", symbols), view(**change))


def test_masked_again_needs_a_history():
    trace, symbols = make("remdm")
    with pytest.raises(ValueError, match=r"revised\(position, token\)"):
        trace_page(trace, symbols)
    with pytest.raises(ValueError, match="history=True"):
        trace_page(replace(trace, history=None), symbols, view())
    with pytest.raises(ValueError, match="nothing of row 1"):
        trace_page(replace(trace, history=trace.history.of_row(0)), symbols, view())


def test_colours_are_in_order_of_lightness():
    """Also in grey, and to eyes that tell no colours apart, later is lighter."""
    trace, symbols = make(n=1)
    colours = np.array(read(trace_page(trace, symbols))["colours"]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()
