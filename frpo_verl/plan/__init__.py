"""`frpo-verl plan`: what a command line of verl resolves to, the memory that it expects, and what keeps it from running."""
