"""What the routes of one server share."""

from __future__ import annotations

import anyio

from babelclip.search.query import Answer, Query
from babelclip.search.web.batching import Batcher
from babelclip.search.web.metrics import Metrics
from babelclip.search.web.service import Embedded, Service

AT_ONCE = 2
"""Pictures and packs that are worked on at the same time; the others wait."""


class State:
    """A service, and the two queues before it.

    Attributes:
        service: what is served.
        metrics: what Prometheus is told.
        searches: queries that wait for a batch.
        embeddings: lists of texts that wait for a batch.
        at_once: who may work on a picture or a pack.
    """

    def __init__(self, service: Service) -> None:
        """Start the queues' threads."""
        self.service, self.metrics = service, Metrics()
        self.searches = Batcher[Query, Answer](service.search_all, tell=self.metrics.batch.observe)
        self.embeddings = Batcher[tuple[list[str], str | None], Embedded](service.embed_texts)
        self.at_once = anyio.Semaphore(AT_ONCE)
        watch = self.metrics.watch
        watch("babelclip_waiting", "Searches that wait for a batch", lambda: self.searches.waiting)
        watch("babelclip_items", "Pictures and moments in the index", lambda: len(service.searcher.store))
        watch("babelclip_languages", "Languages that can be searched in", lambda: len(service.polyglot.languages))

    def close(self) -> None:
        """Answer what is waiting, and end the threads."""
        self.searches.close()
        self.embeddings.close()


def tag_of(language: str | None) -> str | None:
    """Return a tag, or None where the language is to be found out."""
    return None if language in {None, "", "auto"} else language
