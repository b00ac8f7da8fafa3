"""Series: files, parts, scaling and windows, against a direct reading of the file."""

import jax
import numpy as np
import pytest

from experiments.data.series.pipeline import series_pipeline
from experiments.data.series.split import divide
from experiments.data.series.synthetic import synthetic_series
from experiments.data.series.table import Series, read_series
from experiments.parallel.mesh import make_mesh
from tests.support.training import assert_epochs_continue_within

LOOKBACK, HORIZON, SPLIT = 5, 3, (30, 12, 10)


@pytest.fixture
def path(tmp_path):
    """A file with 60 hours of two channels."""
    rng = np.random.default_rng(0)
    dates = np.datetime64("2020-02-28T20:00") + np.arange(60) * np.timedelta64(1, "h")
    numbers = [f"{load},{oil}" for load, oil in rng.normal(size=(60, 2))]
    rows = [f"{date},{row}".replace("T", " ") for date, row in zip(dates, numbers, strict=True)]
    file = tmp_path / "power.csv"
    file.write_text("\n".join(["date,load,oil", *rows, ""]))
    return file


def direct(path):
    """The file's numbers, scaled by mean and population deviation of the first 30 rows."""
    values = np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:]
    return (values - values[:30].mean(0)) / np.sqrt(
        ((values[:30] - values[:30].mean(0)) ** 2).mean(0)
    )


def make_pipeline(series, **options):
    options = {"batch_size": 4, "eval_batch_size": 6, "eval_test": True} | options
    parts = divide(series, SPLIT, LOOKBACK, HORIZON)
    return series_pipeline(parts, LOOKBACK + HORIZON, make_mesh(1), jax.random.key(0), **options)


def evaluated(pipeline, split):
    """All windows of a split without padding."""
    batches = list(pipeline.evaluation[split]())
    assert len({batch.values.shape for batch in batches}) == 1
    return np.concatenate([batch.values[batch.is_example] for batch in batches])


def test_a_file_is_read_as_numpy_reads_it(path):
    series = read_series(str(path))
    np.testing.assert_array_equal(
        series.values, np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:]
    )
    assert (series.name, series.channels) == ("power", ("load", "oil"))


def test_validation_and_test_windows_are_those_of_the_file_in_their_order(path):
    values, pipeline = direct(path), make_pipeline(read_series(str(path)))
    for split, first, last in ("val", 30, 42), ("test", 42, 52):
        expected = [values[t - LOOKBACK : t + HORIZON] for t in range(first, last - HORIZON + 1)]
        np.testing.assert_allclose(evaluated(pipeline, split), expected, atol=1e-6)


@pytest.mark.parametrize("minibatches", [1, 2])
def test_an_epoch_has_windows_of_the_training_part_once_each(path, minibatches):
    values = direct(path)
    windows = [values[t : t + LOOKBACK + HORIZON] for t in range(30 - LOOKBACK - HORIZON + 1)]
    pipeline = make_pipeline(read_series(str(path)), num_minibatches=minibatches)
    batches = list(next(pipeline.train(0)))
    assert batches[0].values.shape[:-2] == ((2, 4) if minibatches == 2 else (4,))
    assert all(batch.is_example.all() for batch in batches)
    drawn = np.concatenate([np.reshape(b.values, (-1, *windows[0].shape)) for b in batches])
    distance = np.abs(drawn[:, None] - np.array(windows)).max((2, 3))
    assert len(drawn) == len(windows) // (4 * minibatches) * 4 * minibatches
    assert len(set(distance.argmin(1))) == len(drawn)
    np.testing.assert_allclose(distance.min(1), 0, atol=1e-6)


def test_no_target_lies_in_another_part():
    # The values are the numbers of the rows.
    series = Series("rows", np.arange(60.0)[:, None], ("row",))
    mean, deviation = np.mean(range(30)), np.std(range(30))
    pipeline = make_pipeline(series, batch_size=1)
    training = np.concatenate([batch.values for batch in next(pipeline.train(0))])
    for windows, first, last in (
        (training, LOOKBACK, 29),
        (evaluated(pipeline, "val"), 30, 41),
        (evaluated(pipeline, "test"), 42, 51),
    ):
        targets = np.round(windows[:, LOOKBACK:] * deviation + mean)
        assert (targets.min(), targets.max()) == (first, last)


def test_scaling_and_training_windows_do_not_depend_on_later_parts(path):
    series = read_series(str(path))
    other = series._replace(values=np.concatenate([series.values[:30], series.values[30:] * 9 + 7]))
    batches = [next(next(make_pipeline(each).train(0))) for each in (series, other)]
    np.testing.assert_array_equal(*(batch.values for batch in batches))


def test_the_published_split_has_the_published_numbers_of_windows():
    for horizon, train, evaluated in (96, 8033, 2785), (192, 7937, 2689), (720, 7409, 2161):
        parts = divide(synthetic_series(), (8640, 2880, 2880), 512, horizon)
        assert parts.train.windows == train
        assert parts.val.windows == parts.test.windows == evaluated
        assert parts.val.start == 8640 - 512
        assert parts.test.start == 11520 - 512


def test_fractions_divide_all_rows(path):
    series = read_series(str(path))
    by_rows, by_fractions = (
        divide(series, split, LOOKBACK, HORIZON) for split in [(42, 6, 12), (0.7, 0.1, 0.2)]
    )
    jax.tree.map(np.testing.assert_array_equal, by_fractions, by_rows)


def test_an_epoch_resumes_at_a_step(path):
    assert_epochs_continue_within(make_pipeline(read_series(str(path))))


def test_windows_are_cut_with_one_compilation_for_each_purpose(path, compilations):
    pipeline = make_pipeline(read_series(str(path)), batch_size=7, eval_batch_size=9)
    with compilations() as first:
        list(next(pipeline.train(0)))
        evaluated(pipeline, "val")
    assert first[0] > 0
    with compilations() as again:
        list(next(pipeline.train(1)))
        list(pipeline.evaluation["test"]())
    assert again[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("date,load,oil", "load,oil", "line 2: must have 2 cells, has 3"),
        ("date,load,oil\n", "", "line 1: must name a column of dates"),
        ("2020-02-29 01:00,", "29 February,", "line 7: the first column must hold dates.*'29 Feb"),
        ("2020-02-29 01:00,", "1,", "line 7: the first column must hold dates"),
        ("2020-02-29 01:00,", "2020-02-29 00:30,", "line 7: .* is 0:30:00 after it"),
        ("2020-02-29 01:00,", "2020-02-29 01:00,,", "line 7: must have 3 cells, has 4"),
    ],
)
def test_a_bad_line_raises_one_line_that_names_it(path, old, new, message):
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"power\.csv, {message}"):
        read_series(str(path))


@pytest.mark.parametrize("cell", ["", "nan", "inf", "n/a", "1,5"])
def test_a_cell_that_is_no_number_raises(path, cell):
    lines = path.read_text().splitlines()
    lines[9] = ",".join([*lines[9].split(",")[:2], f'"{cell}"'])
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"line 10, column 'oil': must be a finite.*'{cell}'"):
        read_series(str(path))


def test_a_gap_in_time_raises(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:20] + lines[22:]))
    with pytest.raises(ValueError, match=r"line 21: .*one step \(1:00:00\) after.*is 3:00:00"):
        read_series(str(path))


def test_a_missing_file_raises_with_where_to_find_the_usual_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"CSV file.*missing\.csv.*ETDataset"):
        read_series(str(tmp_path / "missing.csv"))


@pytest.mark.parametrize("text", [b"", b"date,load\n", b"\xff\xfe\x00"])
def test_a_file_without_rows_raises(path, text):
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"power\.csv.* must "):
        read_series(str(path))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((50, 6, 6), "power must have 62 rows.*has 60; --config.split=0.7,0.1,0.2"),
        ((7, 20, 20), "training part must have at least 8 rows.*has 7"),
        ((30, 2, 20), "validation part must have at least 3 rows"),
        ((0.5, 0.5, 0.5), "split must be three numbers"),
        ((30, 0.1, 0.1), "split must be three numbers"),
        ((30, 30), "split must be three numbers"),
    ],
)
def test_a_split_that_the_series_does_not_have_raises(path, split, message):
    with pytest.raises(ValueError, match=message):
        divide(read_series(str(path)), split, LOOKBACK, HORIZON)


def test_the_smallest_parts_have_one_window(path):
    parts = divide(read_series(str(path)), (8, 3, 3), LOOKBACK, HORIZON)
    assert [part.windows for part in (parts.train, parts.val, parts.test)] == [1, 1, 1]


def test_a_channel_that_is_constant_in_the_training_part_raises(path):
    series = read_series(str(path))
    series.values[:30, 1] = 0.1
    with pytest.raises(ValueError, match=r"channel 'oil' of power must vary.*is 0\.1"):
        divide(series, SPLIT, LOOKBACK, HORIZON)


def test_the_synthetic_series_is_called_so_and_varies():
    series = synthetic_series(hours=200)
    assert series.name == "synthetic"
    assert series.values.shape == (200, 7)
    assert (series.values.std(0) > 0.1).all()
    np.testing.assert_array_equal(series.values, synthetic_series(hours=200).values)
