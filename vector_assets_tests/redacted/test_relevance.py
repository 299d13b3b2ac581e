"""A recognizer that is skipped finds nothing: on texts made of what patterns are about, and as the metadata of phone numbers says.

A process of its own: Presidio is not for the tests' process.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

PIECES = [
    *"0123456789", *" .:-/@()+\"'", "::", "ffff:", "1.2.3.4", "255.", "bc1", "1A", "DE89", "3704", "4111", "-1111", "AB12345", "9", ".c",
    ".com", ".ſh", ".K", "a@b.co", "www.", "http://", "٣٤٥", "+49", "(0)30", "x12", "078-05", "-1120", "z", "QQ", "e.g", "\n",
]  # fmt: skip
PROGRAM = """
import json, sys
from vector_assets_tests.presidio import block_torch
block_torch()
import phonenumbers
import tldextract, tldextract.tldextract
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
from presidio_analyzer.predefined_recognizers import PhoneRecognizer
from vector_assets.redacted import relevance
missed, skipped, found = [], {}, {}
for kind in relevance._NEEDS:
    recognizer = kind()
    needs = relevance.needs_of(recognizer)
    for text in json.load(open(sys.argv[1])):
        results = recognizer.analyze(text, recognizer.supported_entities, None)
        needed = needs(relevance.Traits.of(text))
        skipped[kind.__name__] = skipped.get(kind.__name__, 0) + (not needed)
        found[kind.__name__] = found.get(kind.__name__, 0) + bool(results)
        if results and not needed:
            missed.append([kind.__name__, text])
lengths = {
    region: min(phonenumbers.PhoneMetadata.metadata_for_region(region).general_desc.possible_length)
    for region in phonenumbers.SUPPORTED_REGIONS
}
abroad = min(length + len(str(phonenumbers.country_code_for_region(region))) for region, length in lengths.items() if length > 0)
print(json.dumps({
    "missed": missed, "skipped": skipped, "found": found,
    "phone": min([abroad, *(lengths[region] for region in PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS)]),
}))
"""


def test_what_is_skipped_would_find_nothing(tmp_path: Path) -> None:
    random_ = random.Random(7)
    texts = ["".join(random_.choices(PIECES, k=random_.randrange(1, 14))) for _ in range(4_000)]
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(texts))
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    answer = json.loads(run.stdout)
    assert answer["missed"] == []
    assert answer["phone"] == 4
    assert all(answer["skipped"].values()), answer["skipped"]
    assert sum(1 for found in answer["found"].values() if found) >= 5, answer["found"]
