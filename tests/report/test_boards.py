"""The boards of a Sudoku's page: every cell with its marks, by loops over samples and solutions."""

import json
import re

NAMES = (("row", "rows"), ("column", "columns"), ("box", "boxes"))


def units_of(grid):
    """Rows, columns and boxes of four strings of four digits."""
    columns = ["".join(line[c] for line in grid) for c in range(4)]
    boxes = [grid[a][b : b + 2] + grid[a + 1][b : b + 2] for a in (0, 2) for b in (0, 2)]
    return [*grid, *columns, *boxes]


def test_boards(runs):
    report = json.loads((runs / "sudoku" / "report.json").read_text())
    html = (runs / "sudoku" / "report.html").read_text()
    boards = re.findall(r'<table class="board">(.*?)</table>\s*<figcaption>(.*?)<', html, re.DOTALL)
    assert len(boards) == 2 * 20
    solved = violated = 0
    for i, sample in enumerate(report["samples"]):
        cells = re.findall(r'<td class="([^"]*)">(\d)</td>', boards[2 * i][0])
        solution = "".join(re.findall(r">(\d)</td>", boards[2 * i + 1][0]))
        assert "".join(digit for _, digit in cells) == sample
        assert solution == report["real_samples"][i] == report["real_samples"][i % 12]
        grid = [sample[k : k + 4] for k in range(0, 16, 4)]
        units = units_of(grid)
        for k, (marks, digit) in enumerate(cells):
            r, c = divmod(k, 4)
            own = units[r], units[4 + c], units[8 + r // 2 * 2 + c // 2]
            marks = marks.split()
            assert ("repeated" in marks) == any(unit.count(digit) > 1 for unit in own)
            assert ("wrong" in marks) == (digit != solution[k])
            assert ("given" in marks) == (k in report["sample_given"][i])
            assert "given" not in marks or "wrong" not in marks
            assert (c == 1) == ("right" in marks)
            assert (r == 1) == ("below" in marks)
        broken = [len(set(unit)) < 4 for unit in units]
        solved, violated = solved + (not any(broken)), violated + sum(broken)
        for part, (one, many) in enumerate(NAMES):
            count = sum(broken[4 * part : 4 * part + 4])
            told = re.search(rf"\b(\d+) ({one}|{many})\b", boards[2 * i][1])
            assert (int(told[1]) if told else 0) == count
    assert f"Of these 20, {solved} are solved; {violated / 20:.1f} of 12 rows" in html


def test_formats_and_metrics_of_samples(runs):
    folder = runs / "sudoku"
    quality = json.loads((folder / "report.json").read_text())["sample_quality"]["quality"]
    counts = []
    for line in (folder / "drawn.txt").read_text().splitlines():
        units = units_of([line[k : k + 4] for k in range(0, 16, 4)])
        counts.append(sum(len(set(unit)) < 4 for unit in units))
    assert len(counts) == 100
    assert quality["violated_constraints"] * 100 == sum(counts)
    assert quality["solved"] * 100 == counts.count(0)
    shown = (folder / "report.html").read_text().count("data:image/png")
    for kind in ("svg", "pdf"):
        assert len(list((folder / "pictures").glob(f"*.{kind}"))) == shown
    named = {path.name for path in (folder / "tables").iterdir()}
    of = ("likelihoods", "metrics_of_samples")
    assert named == {f"{name}.{kind}" for name in of for kind in ("csv", "tex")}
