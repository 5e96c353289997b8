"""Raw files to canonical tables to splits."""

from recsys.core.registry import Registry

NAMES = {
    "ml-100k": "recsys.data.sources.movielens_100k:MovieLens100K",
    "ml-100k-mmrec": "recsys.data.sources.mmrec:MovieLens100KMMRec",
    "ml-latest-small": "recsys.data.sources.movielens:MovieLens",
    "ml-1m": "recsys.data.sources.movielens:MovieLens1M",
    "ml-10m": "recsys.data.sources.movielens:MovieLens10M",
    "ml-20m": "recsys.data.sources.movielens:MovieLens20M",
    "ml-25m": "recsys.data.sources.movielens:MovieLens25M",
    "ml-32m": "recsys.data.sources.movielens:MovieLens32M",
    "amazon-2014": "recsys.data.sources.amazon:Amazon2014",
    "amazon-2018": "recsys.data.sources.amazon:Amazon2018",
    "amazon-2023": "recsys.data.sources.amazon:Amazon2023",
    "atomic": "recsys.data.sources.atomic:Atomic",
    "mmrec": "recsys.data.sources.mmrec:MMRec",
    "mmrec-npy": "recsys.data.sources.mmrec:MMRecArrays",
    "mmssl": "recsys.data.sources.mmssl:MMSSL",
    "sequences": "recsys.data.sources.sequences:Sequences",
    "own": "recsys.data.sources.own:OwnTables",
}
SOURCES = Registry("data source", NAMES)
