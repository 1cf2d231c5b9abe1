"""The pages made from the code are what the code would make today, and the schemas stay small."""

import pytest

from tests.documents import DOCS, PAGES, schema_tokens, tools


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_current(page: str) -> None:
    """Whoever changes a tool must run `make docs`."""
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_all_schemas_are_small() -> None:
    """What every conversation pays for must stay within 2,000 tokens, the reading tools within 900."""
    reading = [tool for tool in tools() if tool.name in {"resource_types", "resource_list", "resource_get"}]
    assert len(reading) == 3
    assert schema_tokens(*reading) <= 900
    assert schema_tokens(*tools()) <= 2000
