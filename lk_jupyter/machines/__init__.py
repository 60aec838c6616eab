"""Machine types: the catalogue, prices, offers."""
