"""Citations: the BibTeX that a user owes, from the identifiers that data sets, programs and weights carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

OURSELVES = "cloudchamber"

# Identifier -> BibTeX entry. Titles, authors and places as in INSPIRE-HEP and Zenodo.
_ENTRIES: dict[str, str] = {
    OURSELVES: """@software{cloudchamber,
    author = "{The cloudchamber developers}",
    title = "{cloudchamber: one foundation model from collider jets to neutrino interactions}"
}""",
    "arXiv:2203.11601": """@article{Bierlich:2022pfr,
    author = "Bierlich, Christian and others",
    title = "{A comprehensive guide to the physics and usage of PYTHIA 8.3}",
    eprint = "2203.11601",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.21468/SciPostPhysCodeb.8",
    journal = "SciPost Phys. Codeb.",
    volume = "2022",
    pages = "8",
    year = "2022"
}""",
    "arXiv:1111.6097": """@article{Cacciari:2011ma,
    author = "Cacciari, Matteo and Salam, Gavin P. and Soyez, Gregory",
    title = "{FastJet User Manual}",
    eprint = "1111.6097",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.1140/epjc/s10052-012-1896-2",
    journal = "Eur. Phys. J. C",
    volume = "72",
    pages = "1896",
    year = "2012"
}""",
    "arXiv:0802.1189": """@article{Cacciari:2008gp,
    author = "Cacciari, Matteo and Salam, Gavin P. and Soyez, Gregory",
    title = "{The anti-$k_t$ jet clustering algorithm}",
    eprint = "0802.1189",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.1088/1126-6708/2008/04/063",
    journal = "JHEP",
    volume = "04",
    pages = "063",
    year = "2008"
}""",
    "arXiv:1307.6346": """@article{deFavereau:2013fsa,
    author = "de Favereau, J. and others",
    collaboration = "DELPHES 3",
    title = "{DELPHES 3, A modular framework for fast simulation of a generic collider experiment}",
    eprint = "1307.6346",
    archivePrefix = "arXiv",
    primaryClass = "hep-ex",
    doi = "10.1007/JHEP02(2014)057",
    journal = "JHEP",
    volume = "02",
    pages = "057",
    year = "2014"
}""",
    "arXiv:1405.6569": """@article{CMS:2014pgm,
    author = "Chatrchyan, Serguei and others",
    collaboration = "CMS",
    title = "{Description and performance of track and primary-vertex reconstruction with the CMS tracker}",
    eprint = "1405.6569",
    archivePrefix = "arXiv",
    primaryClass = "physics.ins-det",
    doi = "10.1088/1748-0221/9/10/P10009",
    journal = "JINST",
    volume = "9",
    pages = "P10009",
    year = "2014"
}""",
    "arXiv:2202.03772": """@inproceedings{Qu:2022mxj,
    author = "Qu, Huilin and Li, Congqiao and Qian, Sitian",
    title = "{Particle Transformer for Jet Tagging}",
    booktitle = "{Proceedings of the 39th International Conference on Machine Learning}",
    eprint = "2202.03772",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    pages = "18281--18292",
    year = "2022"
}""",
    "doi:10.5281/zenodo.6619768": """@dataset{JetClass,
    author = "Qu, Huilin and Li, Congqiao and Qian, Sitian",
    title = "{JetClass: A Large-Scale Dataset for Deep Learning in Jet Physics}",
    publisher = "Zenodo",
    doi = "10.5281/zenodo.6619768",
    year = "2022"
}""",
    "arXiv:2510.24066": """@article{Bhimji:2025isp,
    author = "Bhimji, Wahid and Harris, Chris and Mikuni, Vinicius and Nachman, Benjamin",
    title = "{Foundation model framework for all tasks involving jet physics}",
    eprint = "2510.24066",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.1103/knmd-f5jm",
    journal = "Phys. Rev. D",
    volume = "113",
    number = "3",
    pages = "032020",
    year = "2026"
}""",
    "arXiv:1810.05165": """@article{Komiske:2018cqr,
    author = "Komiske, Patrick T. and Metodiev, Eric M. and Thaler, Jesse",
    title = "{Energy Flow Networks: Deep Sets for Particle Jets}",
    eprint = "1810.05165",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.1007/JHEP01(2019)121",
    journal = "JHEP",
    volume = "01",
    pages = "121",
    year = "2019"
}""",
    "doi:10.5281/zenodo.3164691": """@dataset{Komiske:2019qg,
    author = "Komiske, Patrick and Metodiev, Eric and Thaler, Jesse",
    title = "{Pythia8 Quark and Gluon Jets for Energy Flow}",
    publisher = "Zenodo",
    doi = "10.5281/zenodo.3164691",
    year = "2019"
}""",
    "arXiv:2101.08320": """@article{Kasieczka:2021xcg,
    author = "Kasieczka, Gregor and others",
    title = "{The LHC Olympics 2020: a community challenge for anomaly detection in high energy physics}",
    eprint = "2101.08320",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.1088/1361-6633/ac36b9",
    journal = "Rept. Prog. Phys.",
    volume = "84",
    number = "12",
    pages = "124201",
    year = "2021"
}""",
    "arXiv:1902.09914": """@article{Kasieczka:2019dbj,
    author = "Butter, Anja and others",
    editor = "Kasieczka, Gregor and Plehn, Tilman",
    title = "{The Machine Learning landscape of top taggers}",
    eprint = "1902.09914",
    archivePrefix = "arXiv",
    primaryClass = "hep-ph",
    doi = "10.21468/SciPostPhys.7.1.014",
    journal = "SciPost Phys.",
    volume = "7",
    pages = "014",
    year = "2019"
}""",
    "doi:10.5281/zenodo.2603256": """@dataset{Kasieczka:2019top,
    author = "Kasieczka, Gregor and Plehn, Tilman and Thompson, Jennifer and Russel, Michael",
    title = "{Top Quark Tagging Reference Dataset}",
    publisher = "Zenodo",
    version = "v0 (2018\\_03\\_27)",
    doi = "10.5281/zenodo.2603256",
    year = "2019"
}""",
}


def bibtex(identifiers: Iterable[str]) -> str:
    """BibTeX entries for identifiers such as "arXiv:2203.11601" or "doi:10.5281/...", each once, in their order.

    An identifier that is not in our table gives a @misc entry that holds the identifier and nothing made up.

    >>> print(bibtex(["https://arxiv.org/abs/1111.6097v2"]).splitlines()[0])
    @article{Cacciari:2011ma,
    >>> print(bibtex(["arXiv:9999.00001"]))
    @misc{arXiv_9999.00001,
        eprint = "9999.00001",
        archivePrefix = "arXiv"
    }
    """
    known = {key.lower(): entry for key, entry in _ENTRIES.items()}
    keys = dict.fromkeys(canonical(i) for i in identifiers if i.strip())
    return "\n\n".join(known.get(key.lower()) or _unknown(key) for key in keys)


def canonical(identifier: str) -> str:
    """The one spelling of an identifier: "arXiv:NUMBER" without version, "doi:NAME", or the text as it is.

    >>> canonical("https://doi.org/10.5281/zenodo.3164691"), canonical("2203.11601v1")
    ('doi:10.5281/zenodo.3164691', 'arXiv:2203.11601')
    """
    text = identifier.strip()
    arxiv = re.fullmatch(
        r"(?:arxiv:\s*|https?://arxiv\.org/(?:abs|pdf)/)?(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?:\.pdf)?",
        text,
        re.IGNORECASE,
    )
    if arxiv:
        return f"arXiv:{arxiv[1]}"
    doi = re.fullmatch(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/\S+)", text, re.IGNORECASE)
    return f"doi:{doi[1]}" if doi else text


def _unknown(key: str) -> str:
    kind, _, name = key.partition(":")
    fields = {
        "arXiv": {"eprint": name, "archivePrefix": "arXiv"},
        "doi": {"doi": name},
    }.get(kind, {"howpublished": key})
    label = re.sub(r"[^\w.:/-]+", "_", key).replace(":", "_").replace("/", "_").strip("_")[:60]
    lines = ",\n".join(f'    {field} = "{value.replace(chr(34), chr(39))}"' for field, value in fields.items())
    return f"@misc{{{label},\n{lines}\n}}"
