"""Search over HTTP: one process, one page, packs installed while it runs."""
