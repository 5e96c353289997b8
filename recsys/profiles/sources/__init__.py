"""One file per source of concepts; they are named in ``recsys.profiles``."""
