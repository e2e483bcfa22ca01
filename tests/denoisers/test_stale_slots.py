"""What an order-causal session has computed must not outlive what it was computed from: few tokens, so that histories look alike."""

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
    """Asks the session, and checks what it says against ``conditionals``. tokens: by position, the mask id where masked."""
    shown, asked = torch.tensor(tokens), torch.tensor(where)
    n_revealed = (shown != net.mask_id).sum(1)
    order = torch.tensor([order + [at for at in range(net.length) if at not in order] for order in orders])
    out = session(torch.tensor(rows), shown, order, n_revealed, asked)
    exact = net.conditionals(shown.clamp(max=net.vocab_size - 1), order, n_revealed)[asked]
    assert torch.allclose(out.exp(), exact.exp(), atol=1e-10)


def test_a_token_that_stood_elsewhere():
    """Reveal 0, 1, 2 one by one, mask 1 and 2 again, reveal 3 with the token that 1 had: rank 2 looks as before, and is not."""
    net, m = make(2, 5), 2
    session = net.session(1)
    one = [[at == i for at in range(5)] for i in range(5)]
    ask(net, session, [0], [[m, m, m, m, m]], [[]], [one[0]])
    ask(net, session, [0], [[1, m, m, m, m]], [[0]], [one[1]])
    ask(net, session, [0], [[1, 0, m, m, m]], [[0, 1]], [one[2]])
    ask(net, session, [0], [[1, 0, 1, m, m]], [[0, 1, 2]], [one[3]])
    ask(net, session, [0], [[1, m, m, m, m]], [[0]], [one[3]])
    ask(net, session, [0], [[1, m, m, 0, m]], [[0, 3]], [one[2]])
    ask(net, session, [0], [[1, m, 1, 0, m]], [[0, 3, 2]], [one[4]])


@pytest.mark.parametrize("seed", range(3))
def test_many_histories_that_look_alike(seed):
    """Two tokens at four positions, revealed and masked again 150 times; one position or several asked, by some rows or by all."""
    net, n, length = make(2, 4), 3, 4
    generator = torch.Generator().manual_seed(seed)

    def number(below):
        return int(torch.randint(below, (), generator=generator))

    session = net.session(n)
    orders: list[list[int]] = [[] for _ in range(n)]
    tokens = [[2] * length for _ in range(n)]
    for _ in range(150):
        for row in range(n):
            for at in orders[row][len(orders[row]) - number(3) :] if number(3) == 0 else []:
                tokens[row][at] = 2
            orders[row] = [at for at in orders[row] if tokens[row][at] != 2]
        rows = [row for row in range(n) if number(4)] if number(2) else list(range(n))
        rows = [row for row in rows if len(orders[row]) < length]
        alone = number(3) > 0
        where = []
        for row in rows:
            masked = [at for at in range(length) if at not in orders[row]]
            first = masked[number(len(masked))]
            where.append([at == first or (not alone and at in masked and number(2) == 0) for at in range(length)])
        if rows:
            ask(net, session, rows, [tokens[r] for r in rows], [orders[r] for r in rows], where)
        for row, asked in zip(rows, where, strict=True):
            at = asked.index(True) if number(4) else next(at for at in range(length) if at not in orders[row])
            orders[row].append(at)
            tokens[row][at] = number(2)
        for row in range(n):
            if len(orders[row]) == length:
                orders[row], tokens[row] = orders[row][:1], [x if at == orders[row][0] else 2 for at, x in enumerate(tokens[row])]
