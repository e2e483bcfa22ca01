"""ordo collect on run folders made by hand: what differs, means over seeds, runs that did not
end well.
"""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf
from tiny_runs import call

from ordo.report.settings import differing, flat

NAMES = ("uniform_nelbo", "own_nelbo", "mode_exact", "importance")


def make(folder, settings, nats=None, unit="char", entropy=None, diverged=None, logged=None):
    """A run folder as train.py leaves it; nats: of the own NELBO, the other likelihoods are 1, 2
    and 3 apart.
    """
    folder.mkdir(parents=True)
    base = {
        "name": "n",
        "steps": 9,
        "output": str(folder),
        "report": {"split": "val"},
        "callbacks": {"best": {"dirpath": f"{folder}/c"}},
    }
    OmegaConf.save(OmegaConf.merge(base, settings), folder / "config.yaml")
    (folder / "provenance.json").write_text("{}")
    if nats is not None:
        entries = {}
        for i, name in enumerate(("own_nelbo", "uniform_nelbo", "mode_exact", "importance")):
            entries[name] = {
                "nats": nats + i,
                "standard_error": 0.5,
                "bits_per_token": (nats + i) / 8,
                "bits_per_token_standard_error": 0.05,
            }
            if entropy is not None:
                entries[name]["nats_above_entropy"] = nats + i - entropy
        report = {
            "estimates": entries,
            "unit": unit,
            "entropy": entropy,
            "fit_seconds": nats * 10,
            "parameters": 70,
            "steps": 9,
        }
        (folder / "report.json").write_text(json.dumps(report))
    if diverged:
        (folder / "diverged.json").write_text(json.dumps({"error": diverged}))
    if logged is not None:
        (folder / "csv").mkdir()
        pd.DataFrame({"step": range(logged)}).to_csv(folder / "csv" / "metrics.csv", index=False)


@pytest.fixture
def collect(monkeypatch, capfd):
    return lambda *arguments: call("ordo collect", *arguments, monkeypatch=monkeypatch, capfd=capfd)


def test_means_over_seeds_and_what_did_not_finish(tmp_path, collect):
    own = {(1e-3, 4): [3.0, 5.0, 7.5], (1e-2, 4): [2.0, 2.5], (1e-2, 12): [9.0]}
    for (lr, width), values in own.items():
        for seed, nats in enumerate(values):
            settings = {
                "seed": seed,
                "data": {"seed": seed},
                "optimizer": {"lr": lr},
                "denoiser": {"width": width, "length": width},
            }
            make(tmp_path / f"{lr}" / f"{width}_{seed}", settings, nats)
    rest = {"data": {"seed": 7}, "seed": 7, "denoiser": {"width": 4, "length": 4}}
    make(tmp_path / "0.01" / "killed", rest | {"optimizer": {"lr": 1e-2}}, logged=5)
    make(
        tmp_path / "0.01" / "broke",
        rest | {"optimizer": {"lr": 0.5}},
        diverged="NaN at step 3",
        logged=4,
    )
    make(tmp_path / "0.01" / "silent", rest | {"optimizer": {"lr": 1e-3}, "report": None}, logged=9)
    status, out, err = collect(tmp_path / "0.001", tmp_path / "0.01", "--output", tmp_path / "all")
    assert (status, err) == (0, "")
    runs, means = (
        pd.read_csv(tmp_path / "all" / "runs.csv"),
        pd.read_csv(tmp_path / "all" / "means.csv"),
    )
    assert len(runs) == 9
    assert runs["status"].value_counts().to_dict() == {
        "finished": 6,
        "unfinished": 1,
        "diverged": 1,
        "no report": 1,
    }
    assert runs.set_index("run").loc[str(tmp_path / "0.01" / "killed"), "remark"] == "step 5 of 9"
    assert runs.set_index("run").loc[str(tmp_path / "0.01" / "broke"), "remark"] == "NaN at step 3"
    assert "broke: diverged, NaN at step 3" in out
    assert list(means.columns[:5]) == [
        "optimizer.lr",
        "denoiser.width",
        "report",
        "finished",
        "others",
    ]
    assert "1 (+1)" not in out
    assert "2 (+1)" in out, "the run that was killed has the settings of two that finished"
    finished = means[means["finished"] > 0]
    assert finished["own_nelbo"].is_monotonic_increasing, "sorted"
    assert means["own_nelbo"].notna().tolist() == [True] * 3 + [False] * 2, (
        "what has no number comes last"
    )
    for (lr, width), values in own.items():
        line = finished[
            (finished["optimizer.lr"] == lr) & (finished["denoiser.width"] == width)
        ].iloc[0]
        bits = pd.Series(values) / 8
        assert line["own_nelbo"] == pytest.approx(bits.mean())
        assert line["uniform_nelbo"] == pytest.approx(bits.mean() + 1 / 8)
        assert (line["own_nelbo_sd"] == pytest.approx(bits.std())) or (
            len(values) == 1 and pd.isna(line["own_nelbo_sd"])
        )
        assert (line["finished"], line["seconds"]) == (
            len(values),
            pytest.approx(10 * sum(values) / len(values)),
        )
    assert f"{9 / 8:.4f} ± 0.0500" in out, "a single run has its standard error"
    assert set(means["unit"]) == {"bits_per_token"}
    assert (tmp_path / "all" / "runs.png").is_file()


@pytest.mark.parametrize(
    ("kinds", "unit", "shift"),
    [
        ([("token", 2.0), ("token", 3.0)], "nats_above_entropy", -2.0),
        ([("column", None), ("token", 2.0)], "nats", 0.0),
    ],
)
def test_units(kinds, unit, shift, tmp_path, collect):
    for seed, (name, entropy) in enumerate(kinds):
        make(tmp_path / str(seed), {"seed": seed}, 5.0, name, entropy)
    assert collect(tmp_path)[0] == 0
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert runs["unit"].tolist() == [unit] * 2
    assert runs["mode_exact"][0] == 7.0 + shift


def test_other_metric_sort_and_group(tmp_path, collect):
    for i, (part, layers) in enumerate([("a", 10), ("a", 9), ("b", 10), ("b", 9)]):
        make(tmp_path / str(i), {"seed": 0, "denoiser": {"part": part, "layers": layers}}, float(i))
    assert (
        collect(
            tmp_path,
            "--group",
            "denoiser.part",
            "--sort",
            "denoiser.layers",
            "--metric",
            "importance",
        )[0]
        == 0
    )
    means = pd.read_csv(tmp_path / "means.csv")
    assert means["denoiser.layers"].tolist() == [9, 10], "by size, not by text"
    assert means["importance"].tolist() == [2 / 8 + 3 / 8, 1 / 8 + 3 / 8]
    for arguments, message in (
        (
            ["--group", "nonsense"],
            "--group nonsense: the runs do not differ in it, but in denoiser.part, denoiser.layers",
        ),
        (
            ["--sort", "nonsense"],
            "--sort nonsense: no such column; there are denoiser.part, denoiser.layers, finished",
        ),
        ([tmp_path / "elsewhere"], f"no run below {tmp_path / 'elsewhere'}"),
    ):
        status, _, err = collect(tmp_path, *arguments)
        assert status in (1, 2)
        assert message in err
        assert err.count("\n") == 1


def test_differing_settings():
    linear = {"schedule._target_": "Linear", "schedule.length": 3, "report": None, "lr": 1}
    power = {
        "schedule._target_": "Power",
        "schedule.bound": 5,
        "schedule.net._target_": "Net",
        "schedule.net.width": 8,
        "report.draws": 2,
    }
    assert differing([linear, linear]) == []
    assert differing([linear, power | {"lr": 1}]) == ["schedule._target_", "report"], (
        "what a class brings with it is not one more setting"
    )
    assert differing([linear, power, power | {"schedule.bound": 6}]) == [
        "schedule._target_",
        "report",
        "lr",
        "schedule.bound",
    ]
    ema = {"callbacks.ema._target_": "EMA", "callbacks.ema.decay": 0.9}
    assert differing([{}, ema]) == ["callbacks.ema._target_"]
    assert differing([ema, ema | {"callbacks.ema.decay": 0.99}]) == ["callbacks.ema.decay"]
    assert differing([{"a": 1}, {"a": 1.5}, {"a": None}]) == ["a"]
    assert differing([{"seed": 0, "data.seed": 0}, {"seed": 1, "data.seed": 1}]) == ["seed"]
    assert differing(
        [{"seed": 0, "data.seed": 0}, {"seed": 1, "data.seed": 0}, {"seed": 1, "data.seed": 1}]
    ) == ["seed", "data.seed"]


def test_flat_settings():
    config = {
        "a": {"b": {"c": 1, "d": None}, "e": {}},
        "f": [1, {"g": 2}],
        "output": "out/1",
        "h": "out/1/x",
        "schedule": {"length": 4},
    }
    config |= {"data": {"length": 5}, "optimizer": {"total_steps": 7}}
    assert flat(config, "out/1") == {
        "a.b.c": 1,
        "a.b.d": "null",
        "a.e": "{}",
        "f": '[1, {"g": 2}]',
        "h": "OUTPUT/x",
        "data.length": 5,
    }
