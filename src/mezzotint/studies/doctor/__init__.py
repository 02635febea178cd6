"""What will go wrong? A look at configuration, data and a short trial before hours are spent on them."""
