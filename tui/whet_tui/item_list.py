"""The items of a judgement as far as they were read: page by page, in the order in which they came."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from whet_tui.judging_values import ItemPage, ItemQuery, JudgedItem

if TYPE_CHECKING:
    from whet_tui.judging_desk import JudgingDesk


class ItemList:
    """Grows by a page at a time. No item comes twice and none is left out, also when ratings change what passes the
    filter between two pages.
    """

    def __init__(self, query: ItemQuery) -> None:
        self.query = query
        self.items: dict[str, JudgedItem] = {}
        self.complete = False
        """Whether all items that pass the filters are there."""
        self.growing = False
        """Whether a page is on its way: nobody else need ask for it."""
        self._token = ""
        self._shifted = False

    @property
    def keys(self) -> Sequence[str]:
        return list(self.items)

    def has_rated(self) -> None:
        """Something was rated: with the filter for unrated items the pages begin elsewhere now."""
        self._shifted = self.query.unrated

    async def grow(self, desk: "JudgingDesk") -> ItemPage:
        """Fetch the next page that brings something new; return the last page that was read."""
        shifted, self._shifted, self.growing = self._shifted, False, True
        token = "" if shifted else self._token
        try:
            while True:
                page = await desk.items(self.query, token)
                new = {each.item.item_id: each for each in page.items if each.item.item_id not in self.items}
                self.items |= new
                token = self._token = page.next_page_token
                if new or not token:
                    self.complete = not token
                    return page
        except BaseException:
            self._shifted |= shifted  # nothing was read: the pages still begin elsewhere
            raise
        finally:
            self.growing = False
