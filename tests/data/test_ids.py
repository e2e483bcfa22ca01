"""Token ids of a file: what is read, how rows are divided, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from ordo.data import DataError, IdsData, MissingDataError
from ordo.settings import SettingError

IDS = np.random.default_rng(0).integers(0, 9, (200, 4))
IDS[:, 0] = np.arange(200)  # every row is another one


def lines(*sets):
    return sorted(tuple(row) for rows in sets for row in rows.tokens.tolist())


def read(path, **settings):
    data = IdsData(str(path), **settings)
    data.setup()
    return data


def written(folder, name, ids):
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, ids)
    elif path.suffix == ".npz":
        np.savez_compressed(path, ids=ids)
    else:
        pd.DataFrame({"note": "x", "ids": list(ids)}).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet"])
def test_every_kind_of_file_has_the_same_rows(name, tmp_path):
    data = read(written(tmp_path, name, IDS))
    assert (data.length, data.vocab_size) == (4, 200)
    assert [len(each) for each in (data.train_set, data.val_set, data.test_set)] == [180, 10, 10]
    assert lines(data.train_set, data.val_set, data.test_set) == [tuple(row) for row in IDS]
    assert max(data.test_set.tokens[:, 0]) - min(data.test_set.tokens[:, 0]) > 20, "shuffled"
    told = data.describe()
    assert told["name"] == name
    assert told["split"] == [0.9, 0.05, 0.05]
    assert "the largest id" in told["notes"][0]
    again = read(written(tmp_path, "b.npy", IDS.astype(np.uint16)), seed=7)
    assert torch.equal(again.test_set.tokens, data.test_set.tokens), "of split_seed alone"
    other = read(tmp_path / name, split_seed=1)
    assert lines(other.test_set) != lines(data.test_set)
    few = read(tmp_path / name, limit_eval=5)
    assert few.test_set.tokens.tolist() == data.test_set.tokens[::2].tolist()


def test_splits_of_the_file_stay_as_they_are(tmp_path):
    parts = {"train": IDS[:150], "val": IDS[150:170], "test": IDS[170:]}
    np.savez(tmp_path / "a.npz", **parts)
    data = read(tmp_path / "a.npz", vocab_size=300)
    for rows, own in zip(
        (data.train_set, data.val_set, data.test_set), parts.values(), strict=True
    ):
        assert np.array_equal(rows.tokens.numpy(), own)
    assert data.vocab_size == 300
    assert data.notes == []
    assert data.describe()["split"] == "of the file"


def test_a_column_is_named_where_there_are_several(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": list(IDS), "b": list(IDS[:, :2])}).to_parquet(path)
    assert read(path, column="b").length == 2
    with pytest.raises(DataError, match="the columns of lists a, b: name one"):
        read(path)
    with pytest.raises(DataError, match="'c' is no column of lists"):
        read(path, column="c")
    with pytest.raises(DataError, match="columns are of a Parquet file"):
        read(written(tmp_path, "a.npy", IDS), column="c")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS / 2, "ids are whole numbers, and these are values of float64:"),
        (np.where(IDS > 3, np.nan, IDS), "values of float64, some of them NaN"),
        (IDS > 3, "values of bool"),
        (IDS - 1, "row 0, position 0 has the id -1"),
        (IDS + 10**6, "row 0, position 0 has the id 1000000: ids go up to 999999"),
        (IDS[0], r"the shape is \(4,\), and ids have two dimensions"),
        (IDS[None], r"the shape is \(1, 200, 4\)"),
        (IDS[:0], "there are no ids"),
        (IDS[:5], "has 5 rows, too few for a split of"),
    ],
)
def test_unfit_ids(ids, message, tmp_path):
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=message) as caught:
            read(written(tmp_path, name, ids))
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)


def test_ids_outside_of_the_vocabulary(tmp_path):
    with pytest.raises(DataError, match="row 50, position 0 has the id 50, outside of vocab_size"):
        read(written(tmp_path, "a.npy", IDS), vocab_size=50)
    np.savez(tmp_path / "a.npz", train=IDS[:20], val=IDS[20:50], test=IDS)
    with pytest.raises(DataError, match="test rows: row 50, position 0 has the id 50"):
        read(tmp_path / "a.npz", vocab_size=50)
    np.savez(tmp_path / "a.npz", train=IDS[:20], val=IDS[:, :3], test=IDS)
    with pytest.raises(DataError, match=r"one length, these have 4 \(train\), 3 \(validation\)"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [1, 2], [3]], "column 'ids': row 2 has length 1, and row 0 length 2"),
        ([[1, 2], None], "row 1 has no list"),
        ([None, [1, 2]], "row 0 has no list"),
        ([[1, 2], [1, None]], "ids are missing, 1 in all"),
        ([[0.5, 2.0]], "values of float64"),
        ([["a"], ["b"]], "Python objects"),
        ([[[1], [2]]], "Python objects"),
        ([1, 2], "no column of lists"),
    ],
)
def test_unfit_columns(rows, message, tmp_path):
    pd.DataFrame({"ids": rows}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet"])
def test_damaged_files(name, tmp_path):
    raw = written(tmp_path, name, IDS).read_bytes()
    for cut in (0, 1, 7, 60, len(raw) // 2, len(raw) - 3):
        (tmp_path / name).write_bytes(raw[:cut])
        with pytest.raises(DataError, match=r"empty|damaged|no file of NumPy") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_files_that_hold_no_ids(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("something in the file was executed",))

    np.save(tmp_path / "o.npy", np.array([[Evil()]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        read(tmp_path / "o.npy")
    np.savez(tmp_path / "o.npz", train=IDS, val=IDS)
    with pytest.raises(DataError, match="has the arrays train, val: it needs one array, or train"):
        read(tmp_path / "o.npz")
    np.savez(tmp_path / "o.npz")
    with pytest.raises(DataError, match="has the arrays none"):
        read(tmp_path / "o.npz")
    (tmp_path / "t.npy").write_text("1 2 3\n")
    with pytest.raises(DataError, match="is no file of NumPy"):
        read(tmp_path / "t.npy")
    (tmp_path / "t.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r"ids are read from .npy, .npz or .parquet"):
        read(tmp_path / "t.csv")
    with pytest.raises(MissingDataError, match="no such file"):
        read(tmp_path / "gone.npy")
    with pytest.raises(DataError, match="must sum to 1"):
        IdsData("a.npy", split=(0.5, 0.1, 0.1))
    with pytest.raises(SettingError, match="vocab_size"):
        IdsData("a.npy", vocab_size=0)
