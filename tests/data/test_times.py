"""Times: every accepted spelling is read exactly, and what the file orders stays in that order."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.config import make_settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import ITEM_SCHEMA, Count, Dataset, Interactions, Split, Tables, Vocabulary, instants
from recsys.data.canonical import CanonicalSettings, canonicalise, load_dataset, read_interactions
from recsys.data.filters import Rows, report_times
from recsys.data.leaks import leaks
from recsys.data.reading.times import Time, read_moments
from recsys.data.sources.amazon import Amazon2023
from recsys.data.sources.atomic import Atomic, write_atomic
from recsys.data.sources.mmrec import MMRec
from recsys.data.sources.movielens import MovieLens
from recsys.data.sources.own import OwnTables
from recsys.data.splits import SplitSettings, check_partition, load_split, make_split, save_split

QUIET = Run(log=lambda message: None)
BILLION = 10**9
EPOCH = datetime(1970, 1, 1)


def moment(nanoseconds: int) -> dict[str, int]:
    return {"timestamp": nanoseconds // BILLION, "nanosecond": nanoseconds % BILLION}


def read(cells: list, time: Time) -> list[dict[str, int] | None]:
    return read_moments(pl.Series("t", cells), time).to_list()


def own(folder: Path, name: str = "log.csv", **given) -> Tables:
    return OwnTables(make_settings(OwnTables.Settings, {"interactions": name, **given}, "data")).tables(
        folder, run=QUIET
    )


def ingest(tables: Tables, folder: Path, **given) -> list[Count]:
    return canonicalise(tables, CanonicalSettings(**given), "toy", folder, run=QUIET)


def one_column(folder: Path, cells: list[str], **given) -> tuple[list[int], list[int], list[Count]]:
    """Own tables with these times: seconds and nanoseconds in input order, and the counts."""
    lines = [f"u{row},i,{cell}" for row, cell in enumerate(cells)]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    tables = own(folder, **given)
    frame = tables.interactions.collect()
    return frame["timestamp"].to_list(), frame["nanosecond"].to_list(), list(tables.counts)


# -- spellings: from an exact number of nanoseconds to text -------------------------------------------------

STEPS = {"s": BILLION, "ms": 10**6, "us": 10**3, "ns": 1}
# Of whole numbers only the size tells the unit, so these lie after 1980; dates may lie anywhere.
RECENT = st.integers(32 * 10**16, 4 * 10**18)
ANY = st.integers(-2 * 10**18, 4 * 10**18)


def plain(nanoseconds: int, unit: str) -> str:
    """As a decimal number of units, written out."""
    text = format(Decimal(nanoseconds).scaleb(-len(str(STEPS[unit])) + 1), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_exponent(nanoseconds: int, unit: str) -> str:
    value = Decimal(nanoseconds).scaleb(-len(str(STEPS[unit])) + 1)
    return format(value, "E" if nanoseconds % 2 else "e")


@st.composite
def iso(draw: st.DrawFn, nanoseconds: int) -> str:
    """As an ISO 8601 time, in one of the ways that people and programs write it."""
    minutes = draw(st.sampled_from([0, 120, -150, 330, -720]))
    local = EPOCH + timedelta(seconds=nanoseconds // BILLION, minutes=minutes)
    digits = f"{nanoseconds % BILLION:09}".rstrip("0")
    digits = digits.ljust(draw(st.integers(len(digits), 12)), "0")
    sign, hours, rest = "-" if minutes < 0 else "+", *divmod(abs(minutes), 60)
    zones = [f"{sign}{hours:02}:{rest:02}", f"{sign}{hours:02}{rest:02}"] + [f"{sign}{hours:02}"] * (rest == 0)
    zone = draw(st.sampled_from(["", "Z", "UTC", "GMT", "z"] if minutes == 0 else zones))
    gap = draw(st.sampled_from(["", " "]))
    if draw(st.booleans()) or local.year < 1000:
        day, clock = local.strftime("%Y-%m-%d").zfill(10), local.strftime("%H:%M:%S")
    else:
        day, clock = local.strftime("%Y%m%d"), local.strftime("%H%M%S")
    separator = draw(st.sampled_from("T ")) if "-" in day else "T"
    fraction = f".{digits}" if digits else ""
    return f"{day}{separator}{clock}{fraction}" + (f"{gap}{zone}" if zone else "")


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str], list[int], dict[str, str]]:
    """A column of one form: its cells, the exact nanoseconds, and the settings that it needs."""
    form = draw(st.sampled_from(["number", "unit", "iso", "digits"]))
    step = draw(st.sampled_from(sorted(STEPS.values())))
    # A narrow window, so that many fall into one second.
    start = draw(RECENT if form == "number" else ANY)
    many = draw(st.lists(st.integers(0, 3 * BILLION), min_size=2, max_size=12))
    exact = [(start + more) // step * step for more in many]
    if form == "iso":
        return [draw(iso(one)) for one in exact], exact, {}
    if form == "digits":
        exact = [one % (4 * 10**18) // 10**6 * 10**6 for one in exact]
        moments = [EPOCH + timedelta(milliseconds=one // 10**6) for one in exact]
        return [f"{one:%Y%m%d%H%M%S}{one.microsecond // 1000:03}" for one in moments], exact, {}
    unit = draw(st.sampled_from(sorted(STEPS)))
    write = draw(st.sampled_from([plain, with_exponent]))
    given = {"timestamp_unit": unit} if form == "unit" else {}
    return [write(one, unit) for one in exact], exact, given


def check(tables: Tables, exact: list[int], folder: Path) -> None:
    """One user took item ``r`` at ``exact[r]``: the canonical tables hold just that, oldest first."""
    ingest(tables, folder)
    frame = read_interactions(folder).collect()
    expected = sorted(range(len(exact)), key=lambda row: (Fraction(exact[row], BILLION), row))
    assert frame["item_id"].to_list() == [f"i{row}" for row in expected]
    finer = frame["nanosecond"] if "nanosecond" in frame.columns else pl.repeat(0, len(frame), eager=True)
    found = zip(frame["timestamp"].to_list(), finer.to_list(), strict=True)
    assert [seconds * BILLION + part for seconds, part in found] == [exact[row] for row in expected]
    data = load_dataset(folder)
    assert [data.items[item] for item in data.interactions.histories[0]] == [f"i{row}" for row in expected]


PROPERTY = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(column=columns())
@PROPERTY
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_own_text_tables_keep_the_exact_order(tmp_path, kind, column):
    cells, exact, given_settings = column
    rows = [{"user_id": "u", "item_id": f"i{row}", "timestamp": cell} for row, cell in enumerate(cells)]
    if kind == "csv":
        pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    else:
        (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    check(own(tmp_path, f"log.{kind}", **given_settings), exact, tmp_path / "out")


@given(column=columns().filter(lambda column: not column[2]))
@PROPERTY
def test_atomic_files_keep_the_exact_order(tmp_path, column):
    cells, exact, _ = column
    lines = [f"u\ti{row}\t{cell}" for row, cell in enumerate(cells)]
    (tmp_path / "a.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines, ""]))
    check(Atomic().tables(tmp_path, run=QUIET), exact, tmp_path / "out")


@given(many=st.lists(st.integers(-(10**12), 4 * 10**12), min_size=2, max_size=12), near=st.booleans())
@PROPERTY
@pytest.mark.parametrize("name", ["Baby.csv", "Baby.jsonl"])
def test_amazon_keeps_milliseconds(tmp_path, name, many, near):
    milliseconds = [many[0] + one % 2000 for one in many] if near else many
    if name.endswith("csv"):
        rows = [f"u,i{row},5,{time}" for row, time in enumerate(milliseconds)]
        (tmp_path / name).write_text("\n".join(["user_id,parent_asin,rating,timestamp", *rows, ""]))
    else:
        keys = ("user_id", "parent_asin", "rating", "timestamp")
        rows = [dict(zip(keys, ("u", f"i{row}", 5.0, time), strict=True)) for row, time in enumerate(milliseconds)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    tables = Amazon2023(Amazon2023.Settings()).tables(tmp_path, run=QUIET)
    check(tables, [time * 10**6 for time in milliseconds], tmp_path / "out")
    (tmp_path / name).unlink()


@given(
    many=st.lists(st.integers(-(10**18), 4 * 10**18), min_size=2, max_size=12),
    near=st.booleans(),
    unit=st.sampled_from(["ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC", "Asia/Kathmandu"]),
)
@PROPERTY
def test_parquet_keeps_the_resolution_of_its_column(tmp_path, many, near, unit, zone):
    exact = [(many[0] + one % (2 * BILLION) if near else one) // STEPS[unit] * STEPS[unit] for one in many]
    times = pl.Series([one // STEPS[unit] for one in exact]).cast(pl.Datetime(unit, zone))
    items = [f"i{row}" for row in range(len(exact))]
    frame = pl.DataFrame({"user_id": ["u"] * len(exact), "item_id": items, "timestamp": times})
    frame.write_parquet(tmp_path / "log.parquet")
    check(own(tmp_path, "log.parquet"), exact, tmp_path / "out")


def test_other_layouts_read_fractions_too(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\nu,i0,4,978300760.75\nu,i1,4,978300760.25\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\ni0,A,x\ni1,B,y\n")
    tables = MovieLens(MovieLens.Settings()).tables(tmp_path, run=QUIET)
    check(tables, [978300760_750000000, 978300760_250000000], tmp_path / "out")
    lines = "userID\titemID\ttimestamp\tx_label\nu\ti0\t978300760.75\t0\nu\ti1\t978300760.25\t0\n"
    (tmp_path / "m.inter").write_text(lines)
    frame = MMRec().tables(tmp_path, run=QUIET).interactions.collect()
    assert frame["nanosecond"].to_list() == [750_000_000, 250_000_000]


def test_numbers_of_parquet_keep_their_fraction(tmp_path):
    times = [978300760.75, 978300760.25, -0.25]
    frame = pl.DataFrame({"user_id": ["u"] * 3, "item_id": ["i0", "i1", "i2"], "timestamp": times})
    frame.write_parquet(tmp_path / "log.parquet")
    check(own(tmp_path, "log.parquet"), [978300760_750000000, 978300760_250000000, -250000000], tmp_path / "out")


def test_a_plug_in_may_give_times_as_floats(tmp_path):
    frame = pl.LazyFrame({"user_id": ["u", "u"], "item_id": ["i0", "i1"], "timestamp": [1e9 + 0.75, 1e9 + 0.25]})
    check(Tables(frame, pl.LazyFrame()), [10**18 + 750_000_000, 10**18 + 250_000_000], tmp_path / "out")


# -- single spellings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds", "nanoseconds"),
    [
        ("2022-06-24T21:00Z", 1_656_104_400, 0),
        ("2022-06-24 21:00 UTC", 1_656_104_400, 0),
        ("2022-06-24 21:00 GMT", 1_656_104_400, 0),
        ("2022-06-24 21:00:00 +02", 1_656_097_200, 0),
        ("2022-06-24 21:00:00+0200", 1_656_097_200, 0),
        ("2022-06-24T21:00:00.1234567891 +02:00", 1_656_097_200, 123_456_789),
        ("2022-06-24 21:00:00,5", 1_656_104_400, 500_000_000),
        ("2022/06/24 9:05", 1_656_061_500, 0),
        ("20220624T210500Z", 1_656_104_700, 0),
        ("1969-12-31T23:59:59.75Z", -1, 750_000_000),
        ("978300760.25", 978_300_760, 250_000_000),
        ("9.783e8", 978_300_000, 0),
        ("1.7E+9", 1_700_000_000, 0),
        ("-0.25", -1, 750_000_000),
        ("20220624210500", 1_656_104_700, 0),
        ("20220624210500.25", 1_656_104_700, 250_000_000),
        ("20220624210500123", 1_656_104_700, 123_000_000),
        ("202206242105", 1_656_104_700, 0),
        ("20220624", 1_656_028_800, 0),
    ],
)
def test_what_is_unambiguous_is_read(tmp_path, text, seconds, nanoseconds):
    quoted = f'"{text}"' if "," in text else text
    assert one_column(tmp_path, [quoted])[:2] == ([seconds], [nanoseconds])


@pytest.mark.parametrize(
    "text",
    [
        "06/24/2022",
        "24/Jun/2022:21:05:00",
        "2022-02-30",
        "2022-06-24T25:00",
        "2022-06-24 21:00 +99",
        "nan",
        "1e40",
        ".",
    ],
)
def test_what_is_ambiguous_or_no_time_is_refused_with_what_is_read(tmp_path, text):
    with pytest.raises(DataError) as caught:
        one_column(tmp_path, [text])
    message = str(caught.value)
    for words in ("log.csv, row 1, column 'timestamp'", repr(text), "2022-06-24T21:05:00.25+02:00", "since 1970"):
        assert words in message


def test_units_of_numbers_round_down_before_1970():
    assert read([-1, -1000, -1001], Time("ms", "number")) == [
        moment(-1_000_000), moment(-BILLION), moment(-1_001_000_000),
    ]  # fmt: skip
    assert read([date(1969, 12, 31)], Time()) == [moment(-86_400 * BILLION)]
    assert read([2**63, None], Time("auto", "number")) == [None, None]  # beyond what int64 holds
    lowest = read(pl.Series([-(2.0**63), 2.0**63]), Time("auto", "number"))
    assert [one is None for one in lowest] == [False, True]


# -- digits that spell dates --------------------------------------------------------------------------------


def test_digits_that_all_spell_dates_are_dates_and_others_are_not(tmp_path):
    assert one_column(tmp_path, ["20220624", "19991231"])[0] == [1_656_028_800, 946_598_400]
    order = [str(number) for number in range(20220600, 20220700)]  # 30 of 100 are days: a counter
    assert one_column(tmp_path, order)[0] == [int(one) for one in order]


@pytest.mark.parametrize("text", ["2022", "202206", "2022062421"])
def test_digits_that_may_be_numbers_ask_for_the_unit(tmp_path, text):
    with pytest.raises(DataError, match=f"{text} may spell dates .* Set timestamp_unit to 'date' or to 's'"):
        one_column(tmp_path, [text, text])
    assert one_column(tmp_path, [text], timestamp_unit="s")[0] == [int(text)]
    spelled = datetime.strptime(
        text.ljust(6, "0").replace("202200", "202201"), "%Y%m" if len(text) < 10 else "%Y%m%d%H"
    )
    assert one_column(tmp_path, [text], timestamp_unit="date")[0] == [int(spelled.replace(tzinfo=UTC).timestamp())]


def test_a_compact_date_is_a_number_where_the_unit_says_so(tmp_path):
    assert one_column(tmp_path, ["20220624"], timestamp_unit="s")[0] == [20_220_624]


@pytest.mark.parametrize(
    ("cells", "row", "words"),
    [
        (["1600000000", "1600000001", "2022-06-24"], 3, "a number since 1970, as most"),
        (["2022-06-24", "1600000000", "2022-06-25"], 2, "an ISO 8601 time"),
        (["20220624", "20220631", "20220625"], 2, "a date in digits"),
        (["20220624210500", "20220624210501", "1656104700"], 3, "a date in digits"),
    ],
)
def test_a_column_of_two_forms_is_refused_or_the_rare_ones_are_dropped(tmp_path, cells, row, words):
    with pytest.raises(DataError) as caught:
        one_column(tmp_path, cells)
    assert f"row {row}, column 'timestamp'" in str(caught.value)
    assert words in str(caught.value)
    seconds, _, (count,) = one_column(tmp_path, cells, on_bad_rows="drop")
    assert len(seconds) == 2
    assert (count.rows, count.example) == (1, f"first: row {row}: {cells[row - 1]!r}")


def test_an_atomic_file_of_two_forms_is_refused_with_the_row(tmp_path):
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    (tmp_path / "a.inter").write_text(head + "u\ti\t5.25\nu\tj\t2022-06-24\nu\tk\t7\n")
    with pytest.raises(DataError, match=r"row 2.*'2022-06-24', not a number since 1970"):
        Atomic().tables(tmp_path, run=QUIET)
    (tmp_path / "a.inter").write_text(head + "u\ti\t2022\n")
    with pytest.raises(DataError, match="2022 may spell dates"):
        Atomic().tables(tmp_path, run=QUIET)


# -- what orders by time --------------------------------------------------------------------------------------


def test_the_last_of_six_in_a_second_is_the_test_item_of_everybody(tmp_path):
    lines = [
        f"u{user},{'z' if turn == 5 else f'i{turn}'},{1_600_000_000_000 + 100_000 * user + 15 * turn}"
        for user in range(40)
        for turn in reversed(range(6))
    ]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    ingest(own(tmp_path), tmp_path / "out")
    split = make_split(load_dataset(tmp_path / "out"), SplitSettings(kind="leave_last"), run=QUIET)
    assert [split.dataset.items[item] for item in split.test.item_idx] == ["z"] * 40
    assert [split.dataset.items[item] for item in split.valid.item_idx] == ["i4"] * 40


@pytest.mark.parametrize(("keep", "rating"), [("last", 2.0), ("first", 3.0)])
def test_of_a_repeated_pair_a_fraction_decides(tmp_path, keep, rating):
    rows = ["u,a,1,7.5", "u,a,2,7.75", "u,a,3,7.25"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows, ""]))
    ingest(own(tmp_path), tmp_path / "out", duplicates=keep)
    assert read_interactions(tmp_path / "out").collect()["rating"].to_list() == [rating]


def toy(timestamp: list[int], nanosecond: list[int] | None, user: list[int] | None = None) -> Dataset:
    """Each row its own item; all of one user if none are given."""
    n = len(timestamp)
    users = np.zeros(n, np.int32) if user is None else np.array(user, np.int32)
    finer = None if nanosecond is None else np.array(nanosecond, np.int32)
    data = Interactions(
        users, np.arange(n, dtype=np.int32), int(users.max()) + 1, n, timestamp=np.array(timestamp), nanosecond=finer
    )
    ids = Vocabulary(map(str, range(n)))
    table = pl.DataFrame([ids.ids.alias("item_id")]).join(pl.DataFrame(schema=ITEM_SCHEMA), on="item_id", how="left")
    return Dataset("toy", Vocabulary(map(str, range(data.n_users))), ids, data, table)


def test_a_cut_in_time_goes_through_a_second_but_not_through_equal_times():
    finer = [0, 10, 10, 20, 20, 30, 40, 50, 60, 70]
    split = make_split(toy([5] * 10, finer), SplitSettings(kind="global_time", ratios=(0.4, 0.3, 0.3)), run=QUIET)
    assert split.part.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


def test_the_check_of_a_split_sees_fractions():
    data = toy([5, 5, 5, 5], [0, 10, 20, 30])
    for kind in ("leave_last", "global_time"):
        check_partition(Split(data, np.array([0, 0, 1, 2], np.uint8), kind))
        for wrong in ([0, 0, 2, 1], [2, 0, 0, 1]):
            with pytest.raises(DataError, match="older"):
                check_partition(Split(data, np.array(wrong, np.uint8), kind))


def test_leaks_see_fractions():
    found = leaks(Split(toy([5, 5, 5, 5], [0, 20, 10, 30]), np.array([0, 0, 2, 2], np.uint8), "given"))
    assert found["older than the newest in train"] == pytest.approx(1 / 2)
    assert found["older than the user's newest in train"] == pytest.approx(1 / 2)


def test_histories_and_digests_see_fractions():
    data = toy([5, 5, 4], [20, 10, 30]).interactions
    assert data.histories[0].tolist() == [2, 1, 0]
    assert data.select(np.array([0, 1])).histories[0].tolist() == [1, 0]
    assert data.digest != toy([5, 5, 4], [20, 11, 30]).interactions.digest
    assert data.digest != toy([5, 5, 4], None).interactions.digest


@given(
    st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, BILLION - 1)), min_size=1, max_size=20),
    st.sampled_from([1, 10**10, 2**63]),
    st.sampled_from(list(STEPS.values())),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_instants_order_as_the_exact_values_do_however_far_apart(pairs, span, step):
    pairs = [(seconds % span if span < 2**63 else seconds, finer // step * step) for seconds, finer in pairs]
    seconds, finer = np.array([one for one, _ in pairs]), np.array([one for _, one in pairs], np.int32)
    found = instants(seconds, finer).tolist()
    for a, one in enumerate(pairs):
        for b, other in enumerate(pairs):
            assert (found[a] < found[b]) == (one < other)


def test_a_data_set_folder_keeps_fractions_and_one_without_them_has_no_column(tmp_path):
    assert one_column(tmp_path, ["7.5", "7.25"])[1] == [500_000_000, 250_000_000]
    ingest(own(tmp_path), tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert data.interactions.nanosecond.tolist() == [500_000_000, 250_000_000]
    split = make_split(data, SplitSettings(kind="global_time", ratios=(1, 0, 1)), run=QUIET)
    save_split(split, tmp_path / "split")
    assert load_split(data, tmp_path / "split").part.tolist() == [2, 0]
    one_column(tmp_path, ["7", "8.0"])
    ingest(own(tmp_path), tmp_path / "whole")
    assert load_dataset(tmp_path / "whole").interactions.nanosecond is None
    assert "nanosecond" not in read_interactions(tmp_path / "whole").collect().columns


def test_a_folder_of_the_first_format_is_still_read(tmp_path):
    one_column(tmp_path, ["7", "8"])
    ingest(own(tmp_path), tmp_path / "out")
    path = tmp_path / "out" / "dataset.json"
    about = json.loads(path.read_text())
    del about["has_nanosecond"]
    path.write_text(json.dumps(about | {"format": 1}))
    assert load_dataset(tmp_path / "out").interactions.timestamp.tolist() == [7, 8]


@pytest.mark.parametrize("far", [0, 10**11])
def test_atomic_files_bring_fractions_back_exactly(tmp_path, far):
    seconds, finer = [978_300_760, -1, -2, 0, 5, far], [250_000_000, 750_000_000, 0, 1, 0, 999_999_999]
    data = toy(seconds, finer, user=list(range(6)))
    (path, _) = write_atomic(data, None, tmp_path)
    assert [line.split("\t")[2] for line in path.read_text().splitlines()[1:]] == [
        "978300760.25", "-0.25", "-2", "0.000000001", "5", f"{far}.999999999",
    ]  # fmt: skip
    back = Atomic().tables(tmp_path, run=QUIET).interactions.collect()
    assert back["timestamp"].to_list() == seconds
    assert back["nanosecond"].to_list() == finer


# -- what is plausible --------------------------------------------------------------------------------------------


def reported(seconds: list[int], now: float = 1.7e9) -> dict[str, tuple[int, str]]:
    frame = pl.DataFrame({"row": range(len(seconds)), "user_idx": [0] * len(seconds), "item_idx": [0] * len(seconds)})
    rows = Rows("toy", frame.with_columns(timestamp=pl.Series(seconds)), pl.Series(["u"]), pl.Series(["i"]))
    report_times(rows, now)
    assert rows.frame["timestamp"].to_list() == seconds
    return {count.what: (count.rows, count.example) for count in rows.counts}


def test_times_that_cannot_be_are_counted_with_the_first_and_kept():
    example = "first: input row {}: user 'u', item 'i', {}"
    assert reported([1_600_000_000, -1_234_567_891, 1_600_000_000, -5, 10**9]) == {
        "timestamps before 1970: kept": (2, example.format(2, "1930-11-18"))
    }
    assert reported([1_700_086_400, 20_200_000_000]) == {
        "timestamps in the future: kept": (1, example.format(2, "2610-02-11"))
    }
    assert reported([0, 86_400 * 365, 10**9, 10**9, 10**9]) == {
        "timestamps between 1970 and 1990, most others later: kept": (2, example.format(1, "1970-01-01"))
    }


@pytest.mark.parametrize("seconds", [[0, 1, 2], [5, 20_220_624], [-3, -2, -1], [200_000_000, 300_000_000, 10**9]])
def test_orders_and_old_logs_are_not_remarked_upon(seconds):
    assert reported(seconds) == {}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([848_400_000, 20_209_000_000], "from 1996-11-19 to 2610-05-26"),
        ([-5, 499], "in an order from -5 to 499"),
        ([-62_135_596_800, 10**9], "from 0001-01-01 to 2001-09-09"),
        ([10**9, 400_000_000_000], "from 2001-09-09 to 14645-06-30"),
    ],
)
def test_the_range_of_times_is_told(seconds, words):
    assert toy(seconds, None).interactions.period == words


def test_without_times_there_is_no_range():
    assert Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), 1, 1).period == ""
