"""`frpo-verl plan`: what a command line of verl resolves to, what memory it expects, what keeps it from running."""
