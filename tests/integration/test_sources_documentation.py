import re
from pathlib import Path

import pytest

from fraud.sources import SourceRecord, mapping_names, parse_mapping, read_records
from fraud.sources.mapping import FIELD_TARGETS

GUIDE = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_mapping_in_the_guide_can_be_loaded(example: str) -> None:
    assert parse_mapping(example, "docs/mappings.md").name


def test_the_guide_s_mapping_reads_the_guide_s_file(tmp_path: Path) -> None:
    rows = re.search(r"```\n(id;.*?)```", GUIDE, re.DOTALL)
    assert rows is not None
    path = tmp_path / "payments.csv"
    path.write_text(rows[1])
    (record,) = read_records([path], parse_mapping(EXAMPLES[0], "my_bank.yaml"))
    assert isinstance(record, SourceRecord)
    assert (record.message.user_id, record.message.amount) == ("B/7", "12.50")


def test_the_guide_names_every_field_code_and_shipped_mapping() -> None:
    codes = set()
    for module in (Path(__file__).parents[2] / "fraud" / "sources").glob("*.py"):
        source = module.read_text(encoding="utf-8")
        codes |= set(re.findall(r'(?:Refusal|_Broken)\("([a-z_0-9]+)"', source))
        codes |= set(re.findall(r'"", "", "([a-z_]+)"', source))
    assert {"missing_field", "wrong_type", "damaged_file"} & codes
    for word in (*FIELD_TARGETS, *sorted(codes), *mapping_names()):
        assert f"`{word}`" in GUIDE, word
