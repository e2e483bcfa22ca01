"""A whole run on data with given positions, from training to eval.py and sample.py."""

import functools
import itertools
import json
import math

import numpy as np
import pytest
import torch
from tiny_runs import QUIET, call, last, run

from ordo.data import SudokuData
from ordo.order import PlackettLuce
from ordo.report import read_record
from ordo.report.order import in_words
from ordo.report.pictures import order_pictures

SUDOKU = ["data.bank=20", "data.eval_size=6", "steps=4", "checkpoint_every=2", "validate_every=2"]
REPORT = "report={split: test, weights: last, sequences: null, draws: 2, importance_draws: 2, "
REPORT += "exact_sequences: 4, batch_size: 4, seed: 0}"
SAMPLES = "callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 3}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sudoku") / "run"
    plan = [*SUDOKU, *QUIET, REPORT, SAMPLES, "objective.draws=2", "schedule=power_table"]
    return folder, plan, run(folder, *plan, experiment="sudoku_4x4")


def clues(rows):
    return [
        "".join(str(t + 1) if k else "." for t, k in zip(*row, strict=True))
        for row in zip(rows.tokens.tolist(), rows.known.tolist(), strict=True)
    ]


def test_report_is_of_the_cells_to_be_decoded(trained):
    _, _, result = trained
    empty = (~result.data.test_set.known).sum(1).double().mean().item()
    assert result.report.length == pytest.approx(empty)
    nats = result.report.estimates["own_nelbo"].nats
    assert 0.5 * empty < nats / torch.tensor(4.0).log() < 1.5 * empty, (
        "hardly trained: about ln 4 a cell"
    )
    most = int((~result.data.test_set.known).sum(1).max())
    assert len(result.report.loss_by_revealed["own"]["nats"]) <= most


def test_samples_keep_the_clues(trained, monkeypatch, capfd):
    folder, _, result = trained
    data: SudokuData = result.data
    lines = (folder / "samples.txt").read_text().splitlines()
    assert len(lines) == 6
    given = clues(data.val_set)[:3] * 2
    for line, puzzle in zip(lines, given, strict=True):
        assert all(a in (b, ".") for a, b in zip(puzzle, line.split("'")[1], strict=True))
    status, _, err = call(
        "eval.py",
        f"checkpoint={folder}",
        "samples=8",
        "exact_sequences=2",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert status == 0, err
    texts = json.loads((folder / "checkpoints" / "eval_test" / "report.json").read_text())[
        "samples"
    ]
    for text, puzzle in zip(texts, (clues(data.test_set) * 2)[:8], strict=True):
        assert all(a in (b, ".") for a, b in zip(puzzle, text, strict=True))


def test_a_puzzle_of_your_own(trained, tmp_path, monkeypatch, capfd):
    folder, _, _ = trained
    puzzle, out = "1000020000300004", tmp_path / "s.txt"
    settings = [f"checkpoint={folder}", f"out={out}", "n=5", "sampler=top_k", "blank='0'"]
    status, _, err = call(
        "ordo sample",
        *settings,
        "template=1000020000300004",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert status in (1, 2)
    assert "digits that are meant as text are quoted twice" in err
    status, _, err = call(
        "ordo sample", *settings, f"template='{puzzle}'", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status == 0, err
    lines = out.read_text().splitlines()
    assert len(lines) == 5
    assert all(
        a in (b, "0") and b in "1234" for line in lines for a, b in zip(puzzle, line, strict=True)
    )


def completions(puzzle):
    """How many full 4 x 4 grids keep the digits of a puzzle ("." is empty), by trying them all."""
    return sum(all(a in (b, ".") for a, b in zip(puzzle, grid, strict=True)) for grid in grids())


@functools.cache
def grids():
    """The 288 grids of 4 x 4 whose rows, columns and boxes have all digits."""
    found = []
    lines = list(itertools.permutations("1234"))
    for rows in itertools.product(lines, repeat=4):
        if all(len(set(column)) == 4 for column in zip(*rows, strict=True)):
            boxes = [rows[i][j : j + 2] + rows[i + 1][j : j + 2] for i in (0, 2) for j in (0, 2)]
            if all(len(set(box)) == 4 for box in boxes):
                found.append("".join(itertools.chain(*rows)))
    return found


def test_puzzles_are_made_where_none_are_given(trained, tmp_path, monkeypatch, capfd):
    folder, _, _ = trained
    assert len(grids()) == 288
    seen = []
    for seed, trace in ((0, "t.npz"), (0, "t.html"), (0, "t.gif"), (1, "t.npz")):
        out = [f"out={tmp_path / 's.txt'}", f"trace={tmp_path / trace}", f"seed={seed}"]
        settings = [f"checkpoint={folder}", "n=6", "threads=1", *out]
        status, _, err = call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd)
        assert status == 0, err
        assert (tmp_path / trace).stat().st_size > 1000
        known = np.load(tmp_path / "t.npz")["rank"] < 0
        lines = (tmp_path / "s.txt").read_text().splitlines()
        seen.append(
            [
                "".join(c if k else "." for c, k in zip(line, row, strict=True))
                for line, row in zip(lines, known, strict=True)
            ]
        )
        assert len(set(seen[-1])) == 6
        assert all(completions(puzzle) == 1 for puzzle in seen[-1]), "one solution each"
        assert all(4 <= 16 - puzzle.count(".") <= 8 for puzzle in seen[-1]), "as in training"
    assert seen[0] == seen[1] == seen[2] != seen[3]


def test_puzzles_of_a_file(trained, tmp_path, monkeypatch, capfd):
    folder, _, _ = trained
    path, out = tmp_path / "p.csv", tmp_path / "s.txt"

    def solve(*lines, more=()):
        path.write_text("\n".join(lines) + "\n")
        settings = [f"checkpoint={folder}", f"out={out}", f"impute={path}", *more]
        return call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd)

    puzzles = ["1000020000300004", "0000000000000001", "0" * 16]
    for lines in (["puzzle", *puzzles], ["a,b", *(f"{puzzle},{grids()[0]}" for puzzle in puzzles)]):
        out.unlink(missing_ok=True)
        status, _, err = solve(*lines)
        assert status == 0, err
        solved = out.read_text().splitlines()
        assert len(solved) == 3
        for line, puzzle in zip(solved, puzzles, strict=True):
            assert all(a in (b, "0") for a, b in zip(puzzle, line, strict=True))
    out.unlink()
    for lines, message in (
        (["puzzle", "1" * 15], "line 2: needs a puzzle, 16 digits of 0..4"),
        (["puzzle", *puzzles, "5" + "0" * 15], "line 5: needs a puzzle, 16 digits of 0..4"),
        (["puzzle", puzzles[0], "11" + "0" * 14], "line 3: a digit stands twice in a row, column"),
        (["a,b", puzzles[0] + ",1"], "line 2: needs a puzzle and its solution"),
        (puzzles, "line 1: needs a heading"),
        (["puzzle"], "holds no puzzles"),
    ):
        status, _, err = solve(*lines)
        assert (status, len(err.splitlines())) == (1, 1), err
        assert message in err
    for more, message in (
        (["n=2"], "has 3 rows; leave n out"),
        (["template=\"'1___'\""], "give either template or impute"),
    ):
        status, _, err = solve("puzzle", *puzzles, more=more)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert message in err
    assert not out.exists()


def test_the_law_is_shown_of_what_is_decoded(tmp_path):
    """Where all rows are given the same positions. The entropy of their order can be no more than
    that of k! orders.
    """
    folder = tmp_path / "star"
    plan = [
        "data.eval_size=6",
        "denoiser.width=16",
        "denoiser.heads=2",
        "denoiser.layers=1",
        "data.batch_size=4",
        "objective.draws=2",
    ]
    plan += [
        "steps=4",
        "checkpoint_every=2",
        "validate_every=2",
        "optimizer.entropy_bonus=0.1",
        "optimizer.entropy_steps=4",
        *QUIET,
    ]
    result = run(
        folder, *plan, "callbacks.order.every=1", REPORT, experiment="star_graph_learned_order"
    )
    report, values = (
        json.loads((folder / "report.json").read_text()),
        np.load(folder / "report_values.npz"),
    )
    history = np.load(folder / "order_over_training.npz")
    task = result.data.task
    length, k = task.length, task.path_length
    assert report["decoded"] == list(range(length - k, length))
    assert result.module.denoiser.is_given.tolist() == [i < length - k for i in range(length)]
    assert (
        values["orders"].shape[1:] == values["expected_rank"].shape == values["mode"].shape == (k,)
    )
    assert history["expected_rank"].shape == (len(history["step"]), k)
    assert abs(history["entropy"][0] - math.log(math.factorial(k))) < 1e-9
    part = PlackettLuce(result.module.schedule.law().log_w[length - k :])
    assert np.allclose(values["precedence"], part.precedence().detach().numpy())
    assert np.allclose(values["order_entropy"], part.entropy()[0].item())
    kept = [part.precedence()[i - length + k, j - length + k].item() for i, j in task.precedence]
    assert report["precedence_kept"] == pytest.approx(sum(kept) / len(kept))
    record = read_record(folder)
    assert record.order_labels == task.labels[length - k :]
    assert record.order_edges == [(i + 1, i) for i in range(k - 1)]
    assert "edge 0 from" not in in_words(
        values["expected_rank"], float(values["order_entropy"]), record.order_labels
    )
    assert {"order", "schedule", "precedence"} <= {
        picture.name for picture in order_pictures(record)
    }


def test_resume(trained, tmp_path):
    folder, plan, result = trained
    run(tmp_path / "run", *plan, "steps=2", "optimizer.total_steps=4", experiment="sudoku_4x4")
    resumed = run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}", experiment="sudoku_4x4")
    for a, b in zip(result.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    assert last(folder)["global_step"] == 4
