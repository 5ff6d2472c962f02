"""Index pictures and videos once, and search them in every language, now or learnt later."""
