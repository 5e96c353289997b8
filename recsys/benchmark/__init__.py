"""Our rankers, RecBole's and other libraries' on the same splits: tuned alike on validation, one look at test."""
