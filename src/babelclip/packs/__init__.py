"""One learnt language as a small file, and a base model that holds any number of them."""
