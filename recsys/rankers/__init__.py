"""One file per ranker."""

from recsys.core.registry import Registry

NAMES = {
    "popularity": "recsys.rankers.popularity:Popularity",
    "item_knn": "recsys.rankers.item_knn:ItemKNN",
    "rp3beta": "recsys.rankers.rp3beta:RP3beta",
    "ease": "recsys.rankers.ease:EASE",
    "lightgcn": "recsys.rankers.lightgcn:LightGCN",
    "sasrec": "recsys.rankers.sasrec:SASRec",
    "recbole": "recsys.rankers.recbole:RecBole",
}
RANKERS = Registry("ranker", NAMES)
