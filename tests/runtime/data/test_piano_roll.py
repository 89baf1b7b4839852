"""Piano-roll files: reading, and exactly one diagnostic for any invalid bytes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.data import piano_roll
from rnnc.runtime.data.piano_roll import read_rolls
from support.training.piano_rolls import small_rolls, write_rolls


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_sequences_come_out_as_they_went_in(tmp_path, split):
    arrays = small_rolls(seed=3)
    rolls = read_rolls(write_rolls(tmp_path / "rolls.npz", arrays), split)
    assert [len(roll) for roll in rolls] == arrays[f"{split}_lengths"].tolist()
    assert all(roll.shape[1] == 88 and set(np.unique(roll)) <= {0, 1} for roll in rolls)
    assert np.array_equal(np.packbits(np.concatenate(rolls), axis=1), arrays[f"{split}_notes"])


def test_key_j_is_the_bit_j_of_a_frame_highest_bit_first(tmp_path):
    arrays = small_rolls()
    arrays["valid_notes"] = np.zeros((2, 11), np.uint8)
    arrays["valid_notes"][0, 0] = 0b1000_0000
    arrays["valid_notes"][1, 10] = 0b0000_0001
    arrays["valid_lengths"] = np.array([2], np.int32)
    (roll,) = read_rolls(write_rolls(tmp_path / "rolls.npz", arrays), "valid")
    assert [np.flatnonzero(frame).tolist() for frame in roll] == [[0], [87]]


def test_the_other_splits_are_not_even_unpacked(tmp_path):
    arrays = small_rolls()
    arrays["test_notes"] = np.array([object()])
    path = tmp_path / "rolls.npz"
    np.savez(path, **arrays)
    assert read_rolls(path, "train")
    with pytest.raises(RnnError, match="Python objects"):
        read_rolls(path, "test")


def changed(**changes: object) -> dict[str, object]:
    return {**small_rolls(), **changes}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (changed(train_notes=np.zeros((5, 11))), "`train_notes` should be uint8 and is float64"),
        (changed(train_notes=np.zeros((5, 12), np.uint8)), r"should have the shape \(frames, 11\)"),
        (changed(train_notes=np.zeros(55, np.uint8)), r"and has \(55,\)"),
        (changed(train_lengths=np.array([5.0])), "should be integers"),
        (changed(train_lengths=np.array([[5]])), r"is int64 \(1, 1\)"),
        (changed(train_lengths=np.array([], np.int32)), "`train_lengths` is empty"),
        (changed(train_lengths=np.array([0, 5])), "holds a length of 0"),
        (changed(train_lengths=np.array([-2, 5])), "holds a length of -2"),
        (changed(train_lengths=np.array([3, 999])), "adds up to 1002 frames, and there are"),
        (
            changed(train_lengths=np.array([2**63, 2**63], np.uint64)),
            "adds up to 18446744073709551616",
        ),
        ({"train_notes": np.zeros((1, 11), np.uint8)}, "it has no array `train_lengths`"),
    ],
)
def test_each_array_is_checked(tmp_path, arrays, words):
    path = tmp_path / "rolls.npz"
    np.savez(path, **arrays)
    with pytest.raises(RnnError, match=words) as caught:
        read_rolls(path, "train")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RNN611"
    assert str(path) in diagnostic.message


def foreign() -> dict[str, bytes]:
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(archive, "w") as file:
        for name in small_rolls():
            file.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '__import__(1)'}")
    # A pickle that would make a folder if it were ever loaded.
    bomb = b"cos\nmkdir\n(Vexecuted\ntR."
    return {
        "empty": b"",
        "text": b"no archive",
        "pickle": bomb,
        "array": array.getvalue(),
        "other zip": archive.getvalue(),
        "empty zip": b"PK\x05\x06" + bytes(18),
    }


@pytest.mark.parametrize("name", foreign())
def test_foreign_files_give_one_diagnostic_and_run_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rolls.npz"
    path.write_bytes(foreign()[name])
    with pytest.raises(RnnError) as caught:
        read_rolls(path, "train")
    assert [d.code for d in caught.value.diagnostics] == ["RNN611"]
    assert not (tmp_path / "executed").exists()


def test_objects_in_an_archive_are_never_loaded(tmp_path):
    path = tmp_path / "rolls.npz"
    np.savez(path, **{**small_rolls(), "train_notes": np.array([{"a": 1}])})
    with pytest.raises(RnnError, match="Python objects, which are never loaded"):
        read_rolls(path, "train")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = write_rolls(tmp_path / "rolls.npz")
    monkeypatch.setattr(piano_roll, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(RnnError, match="the limit is 1,000"):
        read_rolls(path, "train")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = write_rolls(tmp_path_factory.mktemp("rolls") / "rolls.npz")
    return path, path.read_bytes()


@given(data=st.data())
def test_a_file_that_is_cut_or_scratched_gives_the_same_or_one_diagnostic(whole, data):
    path, content = whole
    broken = bytearray(content)
    if data.draw(st.booleans(), label="cut"):
        del broken[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4), label="scratches")):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(broken))
    codes, rolls = [], ()
    try:
        rolls = read_rolls(path, "train")
    except RnnError as error:
        codes = [diagnostic.code for diagnostic in error.diagnostics]
    assert codes == ([] if rolls else ["RNN611"])
    assert all(len(roll) and roll.shape[1] == 88 for roll in rolls)
