"""A tiny raw folder for each registered source, in the exact layout of the real one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.data.sources.mmrec import MovieLens100KMMRec

Values = dict[str, Any]


def ml_100k(raw: Path) -> Values:
    (raw / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t302\t5\t881250950\n")
    flags = "|".join("1" if place in (4, 5) else "0" for place in range(19))
    (raw / "u.item").write_bytes(
        f"242|Kolya (1996)|24-Jan-1997||http://x|{flags}\n302|Misérables, Les (1995)|||http://x|{flags}\n".encode(
            "latin-1"
        )
    )
    return {}


def ml_csv(raw: Path) -> Values:
    (raw / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,11,4.5,964982704\n2,1,0.5,964982705\n"
    )
    (raw / "movies.csv").write_text(
        'movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n11,"American President, The (1995)",Comedy|Drama\n'
        "12,Untitled,(no genres listed)\n"
    )
    (raw / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n11,0112346,\n12,0000001,1\n")
    (raw / "tags.csv").write_text(
        'userId,movieId,tag,timestamp\n1,1,Pixar,1\n2,1,pixar ,2\n2,1,fun,3\n2,11,"politics, love",4\n'
    )
    return {}


def ml_dat(raw: Path, encoding: str = "latin-1") -> Values:
    (raw / "ratings.dat").write_text("1::1::5::978300760\n1::661::3::978302109\n2::1::4::978298413\n")
    (raw / "movies.dat").write_bytes(
        "1::Toy Story (1995)::Animation|Comedy\n661::Misérables, Les: a::b (1995)::Drama\n".encode(encoding)
    )
    (raw / "tags.dat").write_bytes("1::1::Pixar::1\n2::1::a::b::2\n".encode(encoding))
    return {}


def ml_10m(raw: Path) -> Values:
    return ml_dat(raw, "utf-8")


def write_lines(path: Path, lines: list[str]) -> None:
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


OLD_REVIEWS = [
    {"reviewerID": "A1", "asin": "B0", "reviewText": "fine", "overall": 5.0, "unixReviewTime": 1369699200},
    {"reviewerID": "A1", "asin": "B1", "helpful": [0, 0], "overall": 3.0, "unixReviewTime": 1369699300},
    {"reviewerID": "A2", "asin": "B0", "reviewText": "ok", "overall": 4.0, "unixReviewTime": 1369699400},
]
META_2014 = [
    {
        "asin": "B0", "title": "Bear &amp; friends", "price": 12.5, "imUrl": "http://x.test/b.jpg", "brand": "O'Neil",
        "categories": [["Baby", "Toys"], ["Baby", "Gifts"]], "description": "A <b>soft</b> bear",
        "related": {"also_bought": ["B1"]}, "salesRank": {"Baby": 1},
    },
    {"asin": "B1", "categories": [["Baby"]]},
]  # fmt: skip
META_2018 = [
    {
        "asin": "B0", "title": "Bear", "price": "$12.50", "brand": "Softy", "category": ["Baby", "Toys"],
        "feature": ["Soft"], "description": ["A bear.", "Washable."], "imageURL": ["https://x.test/s.jpg"],
        "imageURLHighRes": ["https://x.test/l.jpg"],
    },
    {"asin": "B1", "title": "", "price": "$1 - $2", "category": [], "description": []},
]  # fmt: skip
META_2023 = [
    {
        "parent_asin": "B0", "title": "Bear", "price": 12.5, "store": "Softy", "categories": ["Baby", "Toys"],
        "features": ["Soft"], "description": ["A bear."],
        "images": [{"thumb": "https://x.test/t.jpg", "large": "https://x.test/l.jpg", "hi_res": None}],
        "details": {"Brand": "Softy"},
    },
    {"parent_asin": "B1", "title": "Ball", "price": None, "images": [], "categories": None},
]  # fmt: skip
NEW_REVIEWS = [
    {"user_id": "A1", "asin": "B0x", "parent_asin": "B0", "rating": 5.0, "timestamp": 1588687728923, "title": "x"},
    {"user_id": "A1", "asin": "B1", "parent_asin": "B1", "rating": 3.0, "timestamp": 1588687729001},
    {"user_id": "A2", "asin": "B0y", "parent_asin": "B0", "rating": 4.0, "timestamp": 1588687730000},
]


def amazon_2014(raw: Path) -> Values:
    write_lines(raw / "reviews_Baby_5.json.gz", [json.dumps(row) for row in OLD_REVIEWS])
    write_lines(raw / "meta_Baby.json.gz", [repr(row) for row in META_2014])
    return {}


def amazon_2018(raw: Path) -> Values:
    write_lines(raw / "Baby.json.gz", [json.dumps(row) for row in OLD_REVIEWS])
    write_lines(raw / "meta_Baby.json.gz", [json.dumps(row) for row in META_2018])
    return {}


def amazon_2023(raw: Path) -> Values:
    write_lines(raw / "Baby_Products.jsonl.gz", [json.dumps(row) for row in NEW_REVIEWS])
    write_lines(raw / "meta_Baby_Products.jsonl.gz", [json.dumps(row) for row in META_2023])
    return {}


def atomic(raw: Path) -> Values:
    (raw / "tiny.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ti\t4\t881250949\nu\tj\t\t881250950.0\n"
    )
    (raw / "tiny.item").write_text(
        "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\tvector:float_seq\n"
        'i\tThe "quoted" one\t1995\tComedy Drama\t0.5 0.25\nj\tOther\t\tDrama\t\n'
    )
    (raw / "tiny.user").write_text("user_id:token\tage:float\nu\t24\n")
    return {}


def mmrec(raw: Path) -> Values:
    (raw / "tiny.inter").write_text(
        "userID\titemID\trating\ttimestamp\tx_label\n0\t0\t5.0\t881250949\t0\n0\t1\t4.0\t881250950\t1\n1\t2\t1\t3\t2\n"
    )
    np.save(raw / "text_feat.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    np.save(raw / "image_feat.npy", np.arange(6, dtype=np.float64).reshape(3, 2))
    (raw / "items.csv").write_text('itemID,title,description\n0,First,"One, two"\n1,Second,\n')
    return {}


def ml_100k_mmrec(raw: Path) -> Values:
    mmrec(raw)
    genres = MovieLens100KMMRec().settings.genre_columns
    head = ",".join(["movie id", "movie title", *genres, "Summary"])
    flags = ",".join("1" if name in ("Comedy", "War") else "0" for name in genres)
    (raw / "items.csv").write_text(f"{head}\n1,Toy Story (1995),{flags},A boy and his toys.\n2,GoldenEye,{flags},\n")
    return {}


def mmrec_npy(raw: Path) -> Values:
    np.save(raw / "tiny_train.npy", np.array([[0, 0, 1], [0, 1, 2]]))
    np.save(raw / "tiny_valid.npy", np.array([[0], [2]]))
    np.save(raw / "tiny_test.npy", np.array([[1], [0]]))
    return {}


def mmssl(raw: Path) -> Values:
    (raw / "train.tsv").write_text("user\titem\n0\t0\n0\t1\n1\t2\n")
    (raw / "valid.tsv").write_text("user\titem\n0\t2\n")
    (raw / "test.tsv").write_text("user\titem\n1\t0\n")
    np.save(raw / "audio_feat.npy", np.ones((3, 2), dtype=np.float16))
    (raw / "items.csv").write_text("item,asin,imUrl\n0,B0,http://x.test/0.jpg\n1,B1,\n2,B2,http://x.test/2.jpg\n")
    return {}


def sequences(raw: Path) -> Values:
    (raw / "Tiny.txt").write_text("1 10 11 12\n2 11 10\n")
    (raw / "Tiny_item2attributes.json").write_text('{"10": [1, 2], "11": [2], "12": []}')
    return {}


def own(raw: Path) -> Values:
    (raw / "interactions.csv").write_text("user_id,item_id,rating,timestamp\nu,i,4,881250949\nv,j,5,881250950\n")
    (raw / "items.csv").write_text("item_id,title\ni,One\nj,Two\n")
    return {"items": "items.csv"}


FIXTURES: dict[str, Callable[[Path], Values]] = {
    "ml-100k": ml_100k,
    "ml-100k-mmrec": ml_100k_mmrec,
    "ml-latest-small": ml_csv,
    "ml-1m": ml_dat,
    "ml-10m": ml_10m,
    "ml-20m": ml_csv,
    "ml-25m": ml_csv,
    "ml-32m": ml_csv,
    "amazon-2014": amazon_2014,
    "amazon-2018": amazon_2018,
    "amazon-2023": amazon_2023,
    "atomic": atomic,
    "mmrec": mmrec,
    "mmrec-npy": mmrec_npy,
    "mmssl": mmssl,
    "sequences": sequences,
    "own": own,
}


def rows(frame: pl.LazyFrame, *columns: str) -> list[tuple]:
    """Collect some columns as a list of rows."""
    return frame.select(columns).collect().rows()
