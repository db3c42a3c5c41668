"""People's ratings, and how far judges agree with them."""
