"""What an order-causal session has computed must not outlive what it was computed from: few tokens,
so that histories look alike.
"""

import pytest
import torch

from ordo.denoisers import OrderCausalTransformer


def make(vocab, length):
    torch.manual_seed(0)
    net = OrderCausalTransformer(vocab, length, width=8, heads=2, layers=2).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return net.eval().requires_grad_(False)


def ask(net, session, rows, tokens, orders, where):
    """Asks the session, and checks what it says against ``conditionals``. tokens: by position, the
    mask id where masked.
    """
    shown, asked = torch.tensor(tokens), torch.tensor(where)
    n_revealed = (shown != net.mask_id).sum(1)
    order = torch.tensor(
        [order + [at for at in range(net.length) if at not in order] for order in orders]
    )
    out = session(torch.tensor(rows), shown, order, n_revealed, asked)
    exact = net.conditionals(shown.clamp(max=net.vocab_size - 1), order, n_revealed)[asked]
    assert torch.allclose(out.exp(), exact.exp(), atol=1e-10)


def one(at):
    return [at == i for i in range(5)]


def test_a_token_that_stood_elsewhere():
    """Positions 0, 1, 2 one by one; 1 and 2 masked again; 3 with the token of 1, then 2: rank 2
    looks as before, and is not.
    """
    net, m = make(2, 5), 2
    for between in (
        [one(3)],
        [[False, True, True, True, False]],
        [],
    ):  # one question at the changed prefix, several, none
        session = net.session(1)
        ask(net, session, [0], [[m, m, m, m, m]], [[]], [one(0)])
        ask(net, session, [0], [[1, m, m, m, m]], [[0]], [one(1)])
        ask(net, session, [0], [[1, 0, m, m, m]], [[0, 1]], [one(2)])
        ask(net, session, [0], [[1, 0, 1, m, m]], [[0, 1, 2]], [one(3)])
        for where in between:
            ask(net, session, [0], [[1, m, m, m, m]], [[0]], [where])
        ask(net, session, [0], [[1, m, 1, 0, m]], [[0, 3, 2]], [one(4)])


def test_several_questions_at_a_changed_prefix():
    """The slot that is next, from one question, was computed after another prefix of the same
    length.
    """
    net, m = make(2, 5), 2
    session = net.session(1)
    ask(net, session, [0], [[1, m, m, m, m]], [[0]], [one(1)])
    ask(net, session, [0], [[1, 0, m, m, m]], [[0, 1]], [one(2)])
    ask(net, session, [0], [[1, m, m, 0, m]], [[0, 3]], [[False, True, True, False, True]])
    ask(net, session, [0], [[1, m, 1, 0, m]], [[0, 3, 2]], [one(4)])


def test_another_token_at_the_same_position():
    net, m = make(2, 5), 2
    session = net.session(1)
    ask(net, session, [0], [[1, m, m, m, m]], [[0]], [one(1)])
    ask(net, session, [0], [[1, 0, m, m, m]], [[0, 1]], [one(2)])
    ask(net, session, [0], [[1, 0, 1, m, m]], [[0, 1, 2]], [one(3)])
    ask(net, session, [0], [[1, 1, 1, m, m]], [[0, 1, 2]], [one(3)])


@pytest.mark.parametrize("seed", range(3))
def test_many_histories_that_look_alike(seed):
    """Two tokens at four positions, 150 times revealed, masked again, or both; one position or
    several asked, by some rows or all.
    """
    net, n, length = make(2, 4), 3, 4
    generator = torch.Generator().manual_seed(seed)

    def number(below):
        return int(torch.randint(below, (), generator=generator))

    def reveal(row, at):
        orders[row].append(at)
        tokens[row][at] = number(2)

    session = net.session(n)
    orders: list[list[int]] = [[] for _ in range(n)]
    tokens = [[2] * length for _ in range(n)]
    for _ in range(150):
        for row in range(n):
            lost = number(3) if number(2) else 0
            kept = orders[row][: max(0, len(orders[row]) - lost)]
            tokens[row] = [x if at in kept else 2 for at, x in enumerate(tokens[row])]
            orders[row] = kept
            masked = [at for at in range(length) if at not in kept]
            for at in [
                masked[i] for i in torch.randperm(len(masked), generator=generator).tolist()
            ][: number(lost + 1)]:
                reveal(row, at)  # without a question
        rows = [row for row in range(n) if number(4)] if number(2) else list(range(n))
        rows = [row for row in rows if len(orders[row]) < length]
        alone, where = number(3) > 0, []
        for row in rows:
            masked = [at for at in range(length) if at not in orders[row]]
            first = masked[number(len(masked))]
            where.append(
                [
                    at == first or (not alone and at in masked and number(2) == 0)
                    for at in range(length)
                ]
            )
        if rows:
            ask(net, session, rows, [tokens[r] for r in rows], [orders[r] for r in rows], where)
        for row, asked in zip(rows, where, strict=True):
            reveal(
                row,
                asked.index(True)
                if number(4)
                else next(at for at in range(length) if at not in orders[row]),
            )
        for row in range(n):
            if len(orders[row]) == length:
                orders[row] = orders[row][:1]
                tokens[row] = [x if at == orders[row][0] else 2 for at, x in enumerate(tokens[row])]
