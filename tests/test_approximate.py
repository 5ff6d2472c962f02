"""Approximate search is as good as it says, and is only used where it is needed."""

from __future__ import annotations

import numpy as np
import pytest

from babelclip.errors import SettingError
from babelclip.search import approximate
from babelclip.search.approximate import check, fit, made_up, recall
from babelclip.search.open import open_store
from babelclip.search.store import Approximate
from stores import DIM, about, library, queries


def measured(store, count: int = 50, seed: int = 77) -> float:
    asked = made_up(store, count, seed)
    found, truth = (
        [{hit.id for hit in hits} for hits in store.search(asked, 10, exact=exact)] for exact in (False, True)
    )
    return recall(found, truth)


def test_a_store_is_searched_exactly_up_to_the_limit(store):
    store.put(library(100, 0))
    assert fit(store, limit=100) is None
    assert store.about().index is None
    assert fit(store, limit=99) is not None
    assert store.about().index is not None
    assert fit(store, limit=100) is None
    assert store.about() == about()


def test_the_recall_is_measured_and_good_enough(store):
    store.put(library(1500, 0))
    index = fit(store, limit=1000, queries=60)
    assert index == store.about().index
    assert (index.rows, index.queries) == (1500, 60)
    assert 0.95 <= index.recall <= 1
    assert measured(store) > 0.9
    store.put(library(1600, 0)[1500:])
    store.tidy()
    assert fit(store, limit=1000, queries=60) == index  # it is good enough still
    again = check(store, queries=60)
    assert again == store.about().index
    assert again.recall >= 0.95
    assert measured(store) > 0.9


def test_an_index_is_built_anew_when_it_has_become_bad_or_too_small(store):
    store.put(library(600, 0))
    index = fit(store, limit=1, queries=20)
    bad = index.model_copy(update={"recall": 0.5})
    store.write_about(about(index=bad))
    assert fit(store, limit=1, queries=20).recall >= 0.95
    store.put(library(1000, 0)[600:])
    assert fit(store, limit=1, queries=20).rows == 1000


def test_check_fits_anew_below_what_is_wanted(store, monkeypatch):
    assert check(store) is None
    store.put(library(600, 0))
    index = fit(store, limit=1, queries=20)
    shares = iter([0.2, 0.3, 0.97])
    monkeypatch.setattr(approximate, "recall", lambda *_: next(shares))
    again = check(store, queries=20)
    assert again == store.about().index
    assert again.recall == 0.97
    assert again.effort > index.effort or index.effort == approximate.EFFORTS[1]


def test_where_no_effort_suffices_search_stays_exact(store, monkeypatch):
    store.put(library(300, 0))
    monkeypatch.setattr(approximate, "recall", lambda *_: 0.5)
    assert fit(store, limit=1, queries=20) is None
    assert store.about() == about()
    assert len(store.search(queries(1), 10)[0]) == 10


def test_made_up_queries_are_near_rows_but_none(store):
    items = library(50, 0)
    store.put(items)
    asked = made_up(store, 30)
    assert asked.shape == (30, DIM)
    assert np.allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-6)
    nearest = np.max(asked @ np.stack([item.vector for item in items]).T, axis=1)
    assert (nearest < 0.999).all()
    assert (nearest > 0.9).all()


def test_a_store_that_was_not_begun_is_told(place):
    store = open_store(place)
    for act in (fit, check):
        with pytest.raises(SettingError, match="no index was begun here"):
            act(store)
    store.close()


def test_a_server_looks_into_its_index(postgres_url, tmp_path):
    import psycopg

    store = open_store(f"{postgres_url}?schema={tmp_path.name}")
    store.write_about(about())
    store.put(library(3000, 0))
    store.tidy()
    index = fit(store, limit=1, queries=20)
    store.write_about(about(index=Approximate(**index.model_dump() | {"effort": 16})))
    store.search(queries(40), 5)
    store.close()  # the server counts at the latest when a connection ends
    with psycopg.connect(postgres_url) as connection:
        query = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE schemaname = %s AND indexrelname = 'items_vector'"
        assert connection.execute(query, [tmp_path.name]).fetchone()[0] >= 40
