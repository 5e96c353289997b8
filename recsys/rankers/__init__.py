"""One file per ranker."""

from recsys.core.registry import Registry

NAMES = {
    "popularity": "recsys.rankers.popularity:Popularity",
    "item_knn": "recsys.rankers.item_knn:ItemKNN",
    "rp3beta": "recsys.rankers.rp3beta:RP3beta",
    "ease": "recsys.rankers.ease:EASE",
    "ials": "recsys.rankers.ials:IALS",
    "content_knn": "recsys.rankers.content_knn:ContentKNN",
    "content_ease": "recsys.rankers.content_ease:ContentEASE",
    "fusion": "recsys.rankers.fusion:Fusion",
    "vbpr": "recsys.rankers.vbpr:VBPR",
    "freedom": "recsys.rankers.freedom:FREEDOM",
    "stair": "recsys.rankers.stair:STAIR",
    "lightgcn": "recsys.rankers.lightgcn:LightGCN",
    "mmssl": "recsys.rankers.mmssl:MMSSL",
    "sasrec": "recsys.rankers.sasrec:SASRec",
    "profile": "recsys.profiles.ranker:ProfileRanker",
    "visual_prior": "recsys.visuals.ranker:VisualPrior",
    "recbole": "recsys.rankers.recbole:RecBole",
    "peer": "recsys.rankers.peer:Peer",
}
RANKERS = Registry("ranker", NAMES)
