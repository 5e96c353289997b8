"""One file per describer of items."""
