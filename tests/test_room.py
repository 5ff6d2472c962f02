"""Rows are appended where the table stands, and whoever holds the shorter table never notices."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from babelclip.data.examples import base_lexicon
from babelclip.lexicon import Lexicon, Wish, room
from babelclip.lexicon.room import LEAST, append_rows, empty_table
from babelclip.lexicon.store import load_lexicon, pack_lexicon, write_files


def filled(rows: int, width: int = 3) -> torch.Tensor:
    table = empty_table(torch.empty(1, width), rows)
    table[:] = torch.arange(rows * width).view(rows, width)
    return table


def shares(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.data_ptr() == other.data_ptr()


def test_rows_are_appended_where_the_table_stands():
    table = filled(4)
    before = table.clone()
    longer = append_rows(table, torch.full((2, 3), -1.0))
    longest = append_rows(longer, torch.full((1, 3), -2.0))
    assert shares(table, longer)
    assert shares(table, longest)
    assert torch.equal(table, before)
    assert torch.equal(longest, torch.cat([before, torch.full((2, 3), -1.0), torch.full((1, 3), -2.0)]))
    assert type(longest) is torch.Tensor


def test_room_is_given_once():
    table = filled(4)
    first = append_rows(table, torch.full((2, 3), -1.0))
    second = append_rows(table, torch.full((1, 3), -2.0))
    assert not shares(table, second)
    assert torch.equal(first, torch.cat([table, torch.full((2, 3), -1.0)]))
    assert torch.equal(second, torch.cat([table, torch.full((1, 3), -2.0)]))
    assert shares(second, append_rows(second, torch.zeros(9, 3))), "a copy has room of its own"


def test_a_table_stands_where_the_one_before_it_stood():
    assert append_rows(torch.empty(4, 3, device="meta"), torch.empty(1, 3, device="meta")).is_meta


def test_rows_of_another_width_or_type_are_refused_and_no_room_is_lost():
    table = filled(4)
    for rows in (torch.zeros(3), torch.zeros(2, 1), torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"^rows are \(.*\) torch\.float\d\d, but must be \(R, 3\) torch\.float32"):
            append_rows(table, rows)
    assert shares(table, append_rows(table, torch.zeros(1, 3)))


@pytest.mark.parametrize("rows", [4, 3 * LEAST])
def test_where_there_is_not_room_enough_the_table_is_copied(rows):
    table, enough = filled(rows), max(LEAST, rows // 2)
    assert not shares(table, append_rows(table, torch.zeros(enough + 1, 3)))
    assert shares(table, append_rows(table, torch.zeros(enough, 3)))


def test_a_table_that_is_no_beginning_of_a_buffer_is_copied():
    whole, dense = filled(8), torch.rand(4, 3, dtype=torch.float64)
    new = torch.full((1, 3), -1.0)
    for table in (whole[:4], whole[4:], whole[:, :2], whole[:, 1:], filled(3).T, dense):
        before = table.clone()
        longer = append_rows(table, new[:, : table.shape[1]].to(table.dtype))
        assert not shares(table, longer)
        assert longer.dtype == table.dtype
        assert torch.equal(longer, torch.cat([before, new[:, : table.shape[1]].to(table.dtype)]))
    assert torch.equal(whole, filled(8))


class Slow(room._Buffer):
    """Between looking how much is taken and taking more, others have time to look."""

    @property
    def taken(self) -> int:
        found = self.__dict__["taken"]
        time.sleep(0.001)
        return found

    @taken.setter
    def taken(self, rows: int) -> None:
        self.__dict__["taken"] = rows


def test_of_threads_that_append_to_the_same_table_one_gets_the_room(monkeypatch):
    monkeypatch.setattr(room, "_Buffer", Slow)
    for _ in range(20):
        table, together = filled(4), Barrier(8)

        def append(number: int, table=table, together=together) -> torch.Tensor:
            together.wait()
            return append_rows(table, torch.full((5, 3), float(number)))

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(append, range(8)))
        assert all(bool((one[4:] == number).all()) for number, one in enumerate(found))
        assert sum(shares(one, table) for one in found) == 1


def test_a_lexicon_and_its_copy_may_both_grow(tiny, tmp_path):
    def grow(lexicon: Lexicon, tag: str, text: str) -> torch.Tensor:
        chance = torch.Generator().manual_seed(len(tag))
        lexicon.grow(tag, [text] * 5, Wish(500), initialiser="normal", generator=chance)
        return lexicon.table

    base = base_lexicon(tiny)
    learnt = base.copy()
    grow(learnt, "de", "ein rotes haus")
    before, other, third = learnt.table.clone(), learnt.copy(), learnt.copy()
    first, second = grow(other, "ru", "красный дом"), grow(third, "long-tag", "синий лес")
    assert shares(first, learnt.table)
    assert not shares(second, learnt.table)
    assert len(first) > len(before)
    assert not torch.equal(first[len(before) :][:2], second[len(before) :][:2])
    for table in (learnt.table, first, second):
        assert torch.equal(table[: len(before)], before)

    write_files(pack_lexicon(other, base, base_name="tiny", fingerprint="f" * 64), tmp_path)
    back = load_lexicon(tmp_path, base, fingerprint="f" * 64)
    assert torch.equal(back.table, first)
    assert shares(back.table, grow(back, "mi", "te whare whero")), "it is read with room behind it"
