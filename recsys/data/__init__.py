"""Raw files to canonical tables to splits."""

from recsys.core.registry import Registry

NAMES = {
    "ml-100k": "recsys.data.sources.movielens:MovieLens100K",
}
SOURCES = Registry("data source", NAMES)
