"""docs/paper.md: the map is complete and names what exists; equations of arXiv 2511.19152 that no
other test needs.
"""

import ast
import importlib
import inspect
import itertools
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from ordo.denoisers import BidirectionalTransformer
from ordo.likelihood import enumerate_orders
from ordo.schedules import ArrivalTimes, Cosine, FreeTable, Kumaraswamy, Linear, Power

ROOT = Path(__file__).parents[1]
MAP = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
LOG_W = [1.0, -0.4, -0.6]


def numbers(kind):
    """Of the equations, figures or tables in the first column of the map: "Eqs. 9 to 20", "Tables
    3, 6 and 7", "Figure 2a".
    """
    found = set()
    for row in re.findall(r"^\| ([^|]+) \|", MAP, re.MULTILINE):
        for listed in re.findall(rf"{kind}s?\.? (\d+\w?(?:(?:,| to| and) \d+\w?)*)", row):
            parts = re.split(r",? and |, ", listed)
            for first, last in (
                part.split(" to ") if " to " in part else (part, part) for part in parts
            ):
                found |= set(range(int(first.rstrip("ab")), int(last.rstrip("ab")) + 1))
    return found


def test_the_map_is_complete():
    assert numbers("Eq") == set(range(1, 28))
    assert numbers("Figure") == set(range(1, 6))
    assert numbers("Table") == set(range(1, 8))
    for statement in ("Proposition 3.1", "Proposition 3.2", "Corollary 3.1", "Algorithm 1"):
        assert re.search(rf"^\| {statement}", MAP, re.MULTILINE), statement


LONGEST = 60  # lines of code behind a name of the map


def named_on_the_map():
    pattern = r"\{py:\w+\}`(?:[\w. ]+<|~)?(ordo[\w.]+)>?`"
    names = re.findall(pattern, MAP)
    assert len(names) == MAP.count("{py:")
    rows = "".join(line for line in MAP.splitlines() if line.startswith("|"))
    equations = set(re.findall(pattern, rows))
    for name in names:
        parts = name.split(".")
        for n in reversed(range(1, len(parts) + 1)):
            try:
                found = importlib.import_module(".".join(parts[:n]))
                break
            except ModuleNotFoundError:
                continue
        for part in parts[n:]:
            found = getattr(found, part)
        # A module may have the name of the function that its package offers.
        found = getattr(found, parts[-1]) if inspect.ismodule(found) else found
        yield name, found, name in equations


def lines_of_code(found):
    """Without the docstring, comments and blank lines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0] = ast.Pass()
    return len(ast.unparse(tree).splitlines())


def test_functions_of_the_map_exist_and_are_short():
    found = list(named_on_the_map())
    assert len(found) > 30
    for name, thing, of_an_equation in found:
        assert not of_an_equation or lines_of_code(inspect.unwrap(thing)) <= LONGEST, name


def test_tests_of_the_map_exist():
    tests = set(
        re.findall(
            r"`(tests/[\w/]+\.py)::(\w+)`",
            "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")),
        )
    )
    assert len(tests) > 35
    for path, name in tests:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            f"{path}::{name}"
        )


def test_every_test_named_in_prose_exists():
    """`test_...` in `tests/...py`, as the pages write it."""
    for page in (ROOT / "docs").rglob("*.md"):
        for name, path in re.findall(
            r"`(test_\w+)` in `(tests/[\w/]+\.py)`", page.read_text(encoding="utf-8")
        ):
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{page}: {name}"


def schedule_of(log_w):
    schedule = Power(len(log_w), FreeTable(len(log_w)))
    with torch.no_grad():
        schedule.network.table.copy_(torch.tensor(log_w))
    return schedule.requires_grad_(False)


def random_denoiser(**settings):
    torch.manual_seed(0)
    denoiser = BidirectionalTransformer(2, 3, width=8, heads=2, layers=1, **settings).double()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return denoiser.requires_grad_(False).eval()


def discrete_time_bound(denoiser, schedule, x, steps):
    """Eq. 3: the sum over steps of KL(q(x_s | x_t, x_0) || p(x_s | x_t)), each over its three
    outcomes, and over all masks at t.
    """
    alpha = schedule.alpha(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
    masks = torch.tensor(list(itertools.product([False, True], repeat=3)))
    mu = denoiser(x.expand(8, -1).masked_fill(masks, denoiser.mask_id)).softmax(
        -1
    )  # (masks, length, vocab)
    a_s, a_t = alpha[:-1, None, :], alpha[1:, None, :]
    visited = torch.where(masks, 1 - a_t, a_t).prod(-1)  # (steps, masks)
    stay, jump = (1 - a_s) / (1 - a_t), (a_s - a_t) / (1 - a_t)
    kl = torch.zeros(steps, 8, 3, dtype=torch.float64)
    for outcome in (0, 1, 2):  # a token, or still the mask
        if outcome == 2:
            q, p = stay, stay
        else:
            q, p = jump * (x == outcome), jump * mu[..., outcome]
        kl = kl + torch.where(q > 0, q * (q / p).log(), 0.0)
    return (visited * torch.where(masks, kl, 0.0).sum(-1)).sum().item()


@pytest.mark.parametrize("settings", [{}, {"time_conditioning": True}], ids=["plain", "time"])
def test_discrete_time_bound_tends_to_the_order_nelbo(settings):
    """Eqs. 3, 6, 21 to 24, 27. One step decodes everything at once."""
    denoiser, schedule, x = random_denoiser(**settings), schedule_of(LOG_W), torch.tensor([0, 1, 1])
    at_once = -denoiser(torch.full((1, 3), 2)).log_softmax(-1)[0].gather(1, x[:, None]).sum().item()
    assert discrete_time_bound(denoiser, schedule, x, 1) == pytest.approx(at_once, rel=1e-9)
    exact = enumerate_orders(denoiser, schedule.law(), x[None]).nelbo.item()
    gaps = [
        abs(discrete_time_bound(denoiser, schedule, x, steps) - exact)
        for steps in (4, 64, 1024, 16384)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.02
    assert gaps[-1] < 1e-3


def test_time_conditioning_sees_the_revealed_set_alone():
    """So that Eq. 6 holds, not only Eq. 5: with it too the bound is that of the orders, and the
    same set gives the same distribution.
    """
    test_discrete_time_bound_tends_to_the_order_nelbo({"time_conditioning": True})
    denoiser = random_denoiser(time_conditioning=True)
    assert denoiser.level is not None
    x, k = torch.tensor([[0, 1, 1]] * 2), torch.tensor([2, 2])
    both = denoiser.conditionals(x, torch.tensor([[0, 1, 2], [1, 0, 2]]), k)
    assert torch.allclose(both[0, 2], both[1, 2], rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedule_of(LOG_W),
        lambda: Cosine(3),
        lambda: Kumaraswamy(3, FreeTable(3, 0.5), FreeTable(3, 0.5)),
    ],
)
def test_transition_times_of_the_reverse_process(make):
    """Eqs. 9 to 20 and Prop. 3.2: the product of "not yet" from the end of time down to a step and
    its jump is the step's fall in alpha.
    """
    torch.manual_seed(0)
    schedule, steps = make().requires_grad_(False), 20
    alpha = schedule.alpha(
        torch.linspace(0, 1, steps + 1, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    )
    jump = (alpha[:-1] - alpha[1:]) / (1 - alpha[1:])  # (steps, 3), Eq. 2
    not_later = (
        (1 - jump).flip(0).cumprod(0).flip(0)
    )  # nothing in this step or any that comes before it in reverse time
    revealed = jump * torch.cat([not_later[1:], torch.ones(1, 3)])
    assert torch.allclose(revealed, alpha[:-1] - alpha[1:], atol=1e-9)
    tau = schedule.inverse(torch.rand(20000, 3, dtype=torch.float64))
    share = ((tau * steps).long()[..., None] == torch.arange(steps)).double().mean(0).T
    assert (share - revealed).abs().max() < 4 * (0.25 / 20000) ** 0.5


def ordered_times(schedule, order, power=12):
    """Nodes (n, n, 2) of the first two times and weights of prod -alpha' over t_first > t_second >
    t_third: Gauss-Legendre, t = s^power.
    """
    node, weight = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(80))
    s, ds = (node + 1) / 2, weight / 2
    first, second = s[:, None].expand(-1, 80), s[:, None] * s  # the second below the first
    area = ds[:, None] * ds * s[:, None] * power**2 * (first * second) ** (power - 1)
    t = torch.stack([first, second], -1) ** power
    density = [-schedule.alpha_prime(t[..., i].flatten())[:, order[i]].view(80, 80) for i in (0, 1)]
    third = (1 - schedule.alpha(t[..., 1].flatten()))[:, order[2]].view(
        80, 80
    )  # the third anywhere below the second
    return t, area * density[0] * density[1] * third


def test_probability_of_an_order_is_the_integral_over_its_simplex():
    """Eqs. 7 and 25, decoded by descending time: Plackett-Luce for powers; for another family the
    share of draws.
    """
    powers = schedule_of(LOG_W)
    torch.manual_seed(1)
    others = Kumaraswamy(3, FreeTable(3, 0.7), FreeTable(3, 0.7)).requires_grad_(False)
    drawn = ArrivalTimes(others).sample(40000, torch.Generator().manual_seed(0))
    for order in itertools.permutations(range(3)):
        want = powers.law().log_prob(torch.tensor([order])).exp().item()
        assert ordered_times(powers, order)[1].sum().item() == pytest.approx(want, abs=1e-6)
        share = (drawn == torch.tensor(order)).all(1).double().mean().item()
        assert (
            abs(ordered_times(others, order)[1].sum().item() - share)
            < 4 * (share * (1 - share) / 40000) ** 0.5
        )
    assert ordered_times(Linear(3), (2, 0, 1))[1].sum().item() == pytest.approx(1 / 6, abs=1e-6)


def test_times_given_the_order():
    """Eq. 26: the density of the times given the order, through the mean of the first and second of
    them.
    """
    schedule, order = schedule_of(LOG_W), (1, 0, 2)
    t, weight = ordered_times(schedule, order)
    want = (t * weight[..., None]).sum((0, 1)) / weight.sum()
    tau = schedule.inverse(
        torch.rand(200000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    chosen = tau[((-tau).argsort(-1) == torch.tensor(order)).all(1)][:, list(order[:2])]
    assert len(chosen) > 5000
    assert ((chosen.mean(0) - want).abs() < 4 * chosen.std(0) / len(chosen) ** 0.5).all()
