"""What a prompt and a notebook show: small tables, no tensors."""

import dataclasses
import re

import pytest
import torch

from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import likelihood_report
from ordo.order import FixedOrder, PlackettLuce, uniform_law
from ordo.report import LABELS
from ordo.samplers import Sampler, sample
from ordo.schedules import FreeTable, Kumaraswamy, Power
from ordo.showing import Small

L, V = 6, 4
DENOISER = OrderCausalTransformer(V, L, width=8, heads=2, layers=1).eval()


def shown(thing):
    text, html = repr(thing), thing._repr_html_()
    assert "tensor(" not in text + html
    assert len(text.splitlines()) < 15
    assert max(map(len, text.splitlines())) <= 100
    assert html.startswith("<table>")
    assert html.endswith("</table>")
    for name in ("table", "tr", "td"):
        assert html.count(f"<{name}>") == html.count(f"</{name}>")
    return text


def test_a_report_is_its_four_lines():
    tokens = torch.randint(V, (9, L), generator=torch.Generator().manual_seed(0))
    report = likelihood_report(DENOISER, Power(L, FreeTable(L)), tokens)
    text = shown(report)
    for key, label in LABELS.items():
        values = report.values[key]
        bits = values / L / torch.log(torch.tensor(2.0))
        mean, error = bits.mean(), bits.std() / 3
        assert f"{label:<25}  {mean:.4f} ± {error:.4f}" in text
    assert "bits per token" in text


def test_a_report_above_the_entropy():
    report = likelihood_report(
        DENOISER, Power(L, FreeTable(L)), torch.zeros(2, L).long(), entropy=1.5
    )
    value = report.estimates["own_nelbo"].nats - 1.5
    assert f"{value:.3f} ±" in shown(report)
    one = dataclasses.replace(report, estimates={"own_nelbo": report.estimates["own_nelbo"]})
    assert len(shown(one).splitlines()) == 3


def test_a_trace_is_its_first_rows():
    trace = sample(DENOISER, Sampler(), 8, seed=1, history=True)
    lines = shown(trace).splitlines()
    assert lines[0] == "Trace of 8 sequences of length 6"
    assert len(lines) == 8
    for i in range(5):
        tokens, steps = (" ".join(map(str, x[i].tolist())) for x in (trace.tokens, trace.step))
        total = f"{trace.log_prob[i].sum():.2f}"
        assert re.split(r"  +", lines[2 + i].strip()) == [str(i), tokens, steps, "6", total]
    assert "48" in shown(trace.history)


def test_given_tokens_and_long_rows():
    long = OrderCausalTransformer(V, 40, width=8, heads=2, layers=1).eval()
    known = torch.zeros(2, 40, dtype=torch.bool)
    known[:, 0] = True
    trace = sample(long, Sampler(), given=torch.full((2, 40), 3), known=known)
    row = shown(trace).splitlines()[2]
    assert row.startswith("  0    3 ")
    assert row.count("…") == 2
    assert re.search(r"…  - \d", row)


@pytest.mark.parametrize("learned", [True, False])
def test_a_law_says_who_is_first(learned):
    table = FreeTable(10)
    with torch.no_grad():
        table.table.copy_(torch.arange(10.0) * 3)
    law = Power(10, table.requires_grad_(learned)).law()
    text = shown(law)
    first = ", ".join(f"{i} ({law.expected_rank()[i]:.1f})" for i in (9, 8, 7, 6))
    last = ", ".join(f"{i} ({law.expected_rank()[i]:.1f})" for i in (3, 2, 1, 0))
    assert re.search(rf"first positions .*  {re.escape(first)}$", text, re.MULTILINE)
    assert re.search(rf"last positions .*  {re.escape(last)}$", text, re.MULTILINE)
    assert re.search(rf"learned +{'yes' if learned else 'no'}$", text, re.MULTILINE)
    assert re.search(r"length +10$", text, re.MULTILINE)


def test_other_laws():
    assert "2 (1.0), 0 (2.0), 1 (3.0)" in shown(FixedOrder(torch.tensor([2, 0, 1])))
    assert "one for each of 3 sequences" in shown(PlackettLuce(torch.zeros(3, 5)))
    assert "all have the same mean rank" in shown(uniform_law(5))
    tables = [FreeTable(3), FreeTable(3)]
    with torch.no_grad():
        tables[0].table.copy_(torch.tensor([-9.0, 9.0, 0.0]))
    text = shown(Kumaraswamy(3, *tables).law())
    assert "Kumaraswamy" in text
    assert re.search(r"1 \(1\.\d\), 2 \(2\.\d\), 0 \([23]\.\d\)", text)


def test_data_are_escaped():
    assert "<b>" not in Small("<b>", [["<b>"]], ["<b>"]).html()
