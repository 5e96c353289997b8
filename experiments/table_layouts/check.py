"""Are tables in the layouts that people have read right, or refused with a reason? A line a case.

    python experiments/table_layouts/check.py CASES

CASES is a folder of case folders, ``tables-*``, each with a run.toml beside its files, or folders of such folders
below; they are collected by hand from public bug reports and are not part of the project. Each is copied, prepared as
``recsys data`` prepares it, and held against what EXPECTED says: sizes, true values, counts that must be reported, or
the words of a refusal. Kept in results.json; exit status 1 if a case differs or is not expected.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import recsys
from recsys.core.artifact import commit, versions, write_json
from recsys.core.errors import RecsysError

Check = Callable[[recsys.Workflow], bool]


@dataclass(frozen=True)
class Expected:
    """What a case must give.

    Attributes:
        sizes: interactions, users, items; ``None``: it is refused.
        words: regular expressions that the reported counts, or the refusal, must match.
        checks: of values, by what they say.
    """

    sizes: tuple[int, int, int] | None
    words: tuple[str, ...] = ()
    checks: dict[str, Check] = field(default_factory=dict)


def read(rows: int, users: int, items: int, *words: str, **checks: Check) -> Expected:
    return Expected((rows, users, items), words, checks)


def refused(*words: str) -> Expected:
    return Expected(None, words)


def moment(text: str) -> Check:
    """The earliest time."""
    wanted = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    return lambda run: int(run.dataset.interactions.timestamp.min()) == wanted


def titled(item: str, title: str) -> Check:
    return lambda run: run.dataset.all_titles[run.dataset.items.texts.index(item)] == title


def attributed(item: str, attribute: str) -> Check:
    return lambda run: attribute in run.dataset.all_attributes[run.dataset.items.texts.index(item)]


def pictured(*items: str) -> Check:
    """Exactly these items have a picture."""
    return lambda run: set(run.dataset.item_table.filter(_has_image())["item_id"]) == set(items)


def _has_image() -> Any:
    import polars as pl

    return pl.col("image").is_not_null()


def users(*ids: str) -> Check:
    return lambda run: set(run.dataset.users.texts) == set(ids)


def last_is_z(run: recsys.Workflow) -> bool:
    test = run.loaded_split.test
    return len(test) == 40 and all(run.dataset.items[item].startswith("z") for item in test.item_idx)


EIGHT = tuple("12345678")
SAME = read(32, 8, 9)  # most cases hold the same interactions in other clothes
EXPECTED: dict[str, Expected] = {
    "tables-01_stray_quote": read(40, 8, 10),
    "tables-01_stray_quote/odd": read(40, 8, 10),
    "tables-02_amazon2023": read(72, 12, 15, "before 1970: .*2"),
    "tables-03_amazon2014": read(60, 10, 15),
    "tables-04_amazon2018": read(
        60, 10, 15, "scripts .*: 1 ",
        the_script_is_no_title=lambda run: "getTime" not in "".join(run.dataset.all_titles),
        the_title_has_no_markup=titled("B000000000", "Dress & belt"),
        the_brand_is_a_name=attributed("B000000000", "brand:Acme"),
        lists_of_pictures_are_read=lambda run: run.dataset.item_table["image"].drop_nulls().len() == 13,
    ),
    "tables-05_ml1m": read(40, 8, 10),
    "tables-06_ml25m": read(32, 8, 7),
    "tables-07_gorse_times/T0": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/Z": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/apache": refused("row 1", "24/Jun/2022"),
    "tables-07_gorse_times/compact": read(32, 8, 6, first=moment("2022-06-24T21:05")),
    "tables-07_gorse_times/date8": read(32, 8, 6, first=moment("2022-06-24")),
    "tables-07_gorse_times/mixed": read(32, 8, 6, first=moment("2022-06-24")),
    "tables-07_gorse_times/ms": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/nano": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/pg": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/plain": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/plus2": read(32, 8, 6, first=moment("2022-06-24T19:00")),
    "tables-07_gorse_times/plus2sp": read(32, 8, 6, first=moment("2022-06-24T19:00")),
    "tables-07_gorse_times/trailing": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/us": refused("row 1", "06/24/2022"),
    "tables-07_gorse_times/utc": read(32, 8, 6, first=moment("2022-06-24T21:00")),
    "tables-07_gorse_times/year": refused("2022", "timestamp_unit"),
    "tables-08_float_ids/a_csv_floats_vs_int_items": read(32, 8, 9, one_spelling=users(*EIGHT)),
    "tables-08_float_ids/c_mixed_items": read(32, 8, 9, one_spelling=users(*EIGHT)),
    "tables-08_float_ids/d_spaces": read(32, 8, 9, "blanks", one_spelling=users(*EIGHT)),
    "tables-08_float_ids/e_header_spaces": read(32, 8, 9, one_spelling=users(*EIGHT)),
    "tables-08_float_ids/f_null_words": read(
        28, 9, 9, "without a user or item id: dropped: 4",
        only_listed_words_are_null=users("2", "4", "6", "8", "<NA>", "NA", "NULL", "None", "nan"),
    ),
    "tables-09_zero_ids/a_csv": read(34, 9, 11),
    "tables-09_zero_ids/b_parquet_items_int": refused("'0000'", "'0'"),
    "tables-10_jsonl_ids/a_big_ints": SAME,
    "tables-10_jsonl_ids/b_floats": SAME,
    "tables-10_jsonl_ids/c_float_vs_int": SAME,
    "tables-10_jsonl_ids/d_mixed_types": SAME,
    "tables-10_jsonl_ids/e_u64": SAME,
    "tables-10_jsonl_ids/f_beyond_u64": SAME,
    "tables-10_jsonl_ids/g_nested_null": read(24, 8, 9, "NaN or infinite: dropped: 8"),
    "tables-10_jsonl_ids/h_parquet_tz": SAME,
    "tables-11_atomic/a_price_dash": SAME,
    "tables-11_atomic/b_float_time_frac": read(32, 8, 9, first=moment("2000-12-31T22:12:40")),
    "tables-11_atomic/c_sci_time": read(32, 8, 9, first=moment("2000-12-31T22:12:40")),
    "tables-11_atomic/d_float_ids": read(32, 8, 9),
    "tables-11_atomic/e_space_sep": refused("x.inter", "blank|space", "tab"),
    "tables-11_atomic/f_comma_sep": refused("x.inter", "comma|','", "tab"),
    "tables-11_atomic/g_seq_benchmark": read(32, 8, 9, "item_id_list"),
    "tables-11_atomic/h_bom_crlf": SAME,
    "tables-11_atomic/i_quotes": read(32, 8, 9, quotes_stay=titled("0", '"0" disc 12" x')),
    "tables-11_atomic/j_dups": SAME,
    "tables-11_atomic/k_label": read(16, 8, 9, "labelled 0.*: 16"),
    "tables-11_atomic/l_capital": refused("user_id", "userID"),
    "tables-11_atomic/m_ms_time": read(32, 8, 9, "milliseconds.*32"),
    "tables-11_atomic/n_missing_time": read(25, 8, 9, "without a time .*: 7"),
    "tables-12_ms_order": read(240, 40, 18, the_true_last_is_tested_for_all_40=last_is_z),
    "tables-13_csv_misc/a_bom": SAME,
    "tables-13_csv_misc/b_bom_gz": SAME,
    "tables-13_csv_misc/c_bom_quoted": SAME,
    "tables-13_csv_misc/d_bom_jsonl": SAME,
    "tables-13_csv_misc/e_semicolon": refused("i.csv", "delimiter=';'"),
    "tables-13_csv_misc/f_semicolon_set": refused("row 1", "'4,5'"),
    "tables-13_csv_misc/g_doublecolon": SAME,
    "tables-13_csv_misc/h_pipe_txt": SAME,
    "tables-13_csv_misc/i_tab_in_csv": SAME,
    "tables-13_csv_misc/j_index_col": SAME,
    "tables-13_csv_misc/k_ragged": refused("line 35", "4 fields"),
    "tables-13_csv_misc/l_ragged_short": read(33, 8, 9, "fewer fields than the header", "id: dropped: 2"),
    "tables-13_csv_misc/o_newline_in_note": SAME,
    "tables-13_csv_misc/p_dup_header": refused("'user_id' twice"),
    "tables-13_csv_misc/q_case_unicode": read(18, 2, 9, "repeated .*: 14"),
    "tables-13_csv_misc/r_tsv_quote": SAME,
    "tables-13_csv_misc/s_items_tsv_quote": refused("items.tsv, line 4", "quoting"),
    "tables-13_csv_misc/u_exp_rating": read(20, 8, 8, "'rating' cannot be read: dropped: 4", "infinite: dropped: 8"),
    "tables-17_images": read(32, 8, 9, the_first_of_a_list=pictured("000", "002", "003", "004", "005")),
    "tables-18_amazon2023_csv": read(32, 8, 9),
}  # fmt: skip


def cases(root: Path) -> Iterator[Path]:
    """Folders with a run.toml."""
    for path in sorted(root.glob("tables-*/**/run.toml")):
        yield path.parent


def prepared() -> tuple[recsys.Workflow | None, str]:
    """Return the run of this folder and the reported counts, or nothing and the refusal."""
    try:
        workflow = recsys.Workflow(recsys.read_config(Path("run.toml")), log=lambda message: None)
        made = workflow.data()
        counts = [f"{one['what']}: {one['rows']} ({one['example']})" for one in made.manifest["results"]["counts"]]
        return workflow, "\n".join(counts)
    except RecsysError as error:
        return None, f"{error.thing}: {error.cause}; {error.remedy}"


def judge(folder: Path, expected: Expected) -> tuple[str, list[str]]:
    """Return what came out, and what of it is wrong."""
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(folder, Path(place) / "case")
        before = Path.cwd()
        os.chdir(copy)
        try:
            run, said = prepared()
            faults = [f"does not say {words!r}" for words in expected.words if not re.search(words, said)]
            if run is None:
                return said.replace(str(copy), "…"), faults + ["refused"] * (expected.sizes is not None)
            data = run.dataset
            sizes = len(data.interactions), len(data.users), len(data.items)
            faults += [f"{sizes}, not {expected.sizes}"] * (sizes != expected.sizes)
            faults += [name for name, check in expected.checks.items() if not check(run)]
            return "{} interactions, {} users, {} items".format(*sizes), faults
        finally:
            os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    options = parser.parse_args()
    results = []
    for folder in cases(options.cases):
        name = str(folder.relative_to(options.cases))
        said, faults = judge(folder, EXPECTED[name]) if name in EXPECTED else ("", ["not expected"])
        print(f"{'wrong' if faults else 'right'}  {name}: {said.splitlines()[0] if said else ''}")
        for fault in faults:
            print(f"       {fault}")
        results.append({"case": name, "result": said, "faults": faults})
    failed = sum(bool(result["faults"]) for result in results)
    print(f"{len(results) - failed} of {len(results)} cases right")
    about = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions()}
    write_json(Path(__file__).with_name("results.json"), about | {"cases": results})
    raise SystemExit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
