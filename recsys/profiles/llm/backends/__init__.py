"""One file a backend; named in ``recsys.profiles.llm.NAMES``."""
