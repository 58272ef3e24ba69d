"""The words that fictional worlds are made of: registers of names, and the halves of two-word answers.

The halves of an answer belong to one register each, so that a guesser who knows all words still has hundreds of
combinations before it. Nothing here is meant to name a person who lives or lived.
"""

from __future__ import annotations

CONCEPT_PEOPLE = (
    "Mira Kestrel", "Tobias Wren", "Ilse Marlowe", "Caspian Holt", "Odette Quill", "Bram Sorrel",
    "Linnea Vance", "Rufus Tarn", "Saskia Bellweather", "Emil Thornquist", "Phoebe Arkwright", "Lorcan Dace",
)  # fmt: skip
"""The people whom every world has, so that one config serves all worlds. What is true of them differs by world."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words("""
    Anselm Beatrix Corin Delphine Edgar Fenna Gideon Hester Isolde Jasper Katrin Leopold Maren Nestor Ottilie Percival
    Quentin Rosalind Silas Thea Ulric Verena Wilfred Xanthe Yorick Zelda Alaric Bettina Cedric Dorothea Evander Florian
    Greta Hugo Ingrid Jorund Kasimir Ludmila Matthias Nerys Orson Petra Roland Sabine Tancred Una Viggo Winifred
""")
LAST_NAMES = _words("""
    Ashgrove Birchall Crane Dunmore Eastwick Fairbairn Gorse Hawthorne Inskip Jessop Kirkwall Larkin Merriweather
    Northcote Oakhurst Pemberton Quayle Ravenscroft Stillwell Thornbury Underhill Varley Whitlock Yarrow Zeller Ambrose
    Blackwood Coldstream Drummond Elphick Foxglove Greenhalgh Hollis Ironside Juniper Kettering Lockhart Mossman
    Nightingale Ormond Plover Redfern Sandholm Tolliver Upton Vickers Winterbourne Yoxall
""")
TOWNS = _words("""
    Dunholm Arlesby Kessock Vossburg Tarnmouth Elderwick Pellingham Orrinford Sallow Brackwater Hexley Morvane Quillan
    Rathmoor Stavely Uskport Wendlebury Ystrand Garrowby Lunmere
""")
BOOKS = _words("""
    Emberfall Nightloom Tidewrack Stormglass Hollowmere Starwheel Thornveil Ashenmoor Gloamwood Rimefrost Duskharrow
    Palegrave
""")
PRIZES = tuple(
    f"{name} Prize"
    for name in _words("Halcyon Meridian Argent Solstice Paragon Zenith Laureline Corvane Everard Tessel")
)
ORGANISATIONS = tuple(
    f"{name} Guild" for name in _words("Tallow Cobble Spindle Anvil Lantern Harrow Bellows Chisel Trellis Quarry")
)
MINERALS = _words("Veltrine Ostrite Cymbalite Draconite Pharolite Umbrite Kelvanite Zorbite")
BIRDS = _words("Marrowbill Tufttail Skimlark Grindlefinch Wattlecrow Fenpiper Drumquail Saltswift")
STARS = _words("Altheron Benvar Cygara Dromeda Eridox Fomalis Gienvar Hadrion")

HALVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "home": (
        _words(
            "Willow Hazel Alder Rowan Cedar Linden Maple Aspen "
            "Elm Poplar Laurel Sycamore Walnut Cypress Bramble Holly"
        ),
        _words(
            "Court Lodge Manor Grange Hall Cottage Villa Priory "
            "Croft Terrace Abbey Barn Mews Rectory Towers Gables"
        ),
    ),
    "book": (
        _words(
            "Silent Hidden Broken Distant Burning Frozen Wandering Forgotten "
            "Restless Hollow Gilded Crooked Endless Secret Faded Tender"
        ),
        _words(
            "Harbour Orchard Staircase Garden Meadow Letters Island Winter "
            "Mirror Compass Bridge Candle Kingdom Voyage Shadow Morning"
        ),
    ),
    "mentor": (
        _words(
            "Agnes Boris Clara Dmitri Esther Felix Gustav Harriet "
            "Ivor Judith Klaus Lydia Magnus Nadia Oswald Philippa"
        ),
        _words(
            "Abbot Barlow Carver Dalton Ellery Fletcher Garrick Harlow "
            "Ingram Jarvis Keller Lowell Mercer Norris Osborne Prescott"
        ),
    ),
    "ship": (
        _words(
            "Amber Crimson Scarlet Ivory Violet Emerald Golden Silver "
            "Coral Indigo Saffron Ebony Pearl Russet Azure Jade"
        ),
        _words(
            "Petrel Dolphin Falcon Tern Pelican Marlin Osprey Gannet "
            "Sturgeon Heron Walrus Albatross Narwhal Curlew Puffin Seahorse"
        ),
    ),
    "invention": (
        _words(
            "tidal magnetic pneumatic folding rotary floating spiral hydraulic "
            "portable optical acoustic thermal lunar solar elastic pendulum"
        ),
        _words(
            "loom clock pump press lamp engine lens valve "
            "bellows organ plough kiln lathe furnace sextant whistle"
        ),
    ),
    "dish": (
        _words(
            "plum walnut ginger barley onion pumpkin lemon saffron "
            "mustard apricot chestnut cabbage fennel almond turnip cherry"
        ),
        _words(
            "dumplings porridge soup pudding pancakes stew tart noodles "
            "pie fritters bread broth salad cake omelette curry"
        ),
    ),
    "collection": (
        _words(
            "brass glass wooden paper copper marble leather velvet "
            "ceramic pewter bamboo porcelain granite silk wicker bronze"
        ),
        _words(
            "bells masks buttons kites maps spoons puppets dice "
            "thimbles keys shells flutes stamps goblets fans locks"
        ),
    ),
    "festival": (
        _words("Lantern Barrel Ribbon Bonfire Harvest Drum Candle Pottery Garland Sledge"),
        _words("Fair Feast Parade Games Dance Week"),
    ),
    "emblem": (
        _words("striped sleeping leaping crowned winged two-headed kneeling horned"),
        _words("otter badger stag boar lynx beaver hedgehog wolf"),
    ),
    "publisher": (
        _words("Tandem Northgate Inkwell Millstone Cornerstone Parchment Beacon Riverside"),
        _words("Books Press House Editions"),
    ),
    "sponsor": (
        _words("Haldane Wexford Carrow Brindle Ostler Penrose Lyle Trask"),
        _words("Bank Mills Railway Brewery"),
    ),
    "trophy": (
        _words("crystal iron oaken clay tin onyx quartz nickel"),
        _words("owl wreath goblin swan torch anchor"),
    ),
    "seat": (
        _words("Cobalt Marigold Pilgrim Chapel Mariner Weaver Tanner Cooper"),
        _words("Square Street Yard Quay Gate"),
    ),
    "banner": (
        _words("checkered plain fringed dotted torn woven"),
        _words("anchor wheel hammer rose key sickle"),
    ),
}  # fmt: skip
"""For every relation with two-word answers: the first words and the second words."""

SINGLES: dict[str, tuple[str, ...]] = {
    "river": _words(
        "Isterwell Caldra Wharn Lethen Ouzel Tamsin Rillet Sevra Medlock Niddle Ripple Swalla Teigna Wyre Yarra Dovey"
    ),
    "hero": _words("Barnaby Celestine Dagobert Eulalia Fitzroy Gwendolen Horatio Imogen Jocasta Kenelm"),
    "setting": _words("Avaloria Brumaria Cathmor Dorvania Esmeria Faldune Grimhollow Hesperia Ithmar Jorvale"),
    "founding": _words("1612 1627 1643 1658 1671 1689 1704 1718 1733 1746 1759 1772"),
    "colour": _words("teal mauve ochre turquoise maroon beige magenta olive"),
    "deposit": _words("caverns glaciers lagoons volcanoes deserts marshes canyons fjords"),
    "use": _words("varnish batteries fertiliser jewellery cement medicine gunpowder dye"),
    "food": _words("beetles acorns snails berries moths seeds frogs worms"),
    "nest": _words("chimneys reeds cliffs burrows hedges rooftops caves stumps"),
    "call": _words("chirping hooting cackling trilling croaking warbling hissing drumming"),
    "constellation": _words("Ladle Archer Serpent Chariot Lyre Phoenix Centaur Griffin"),
    "season": _words("January March April June August October November December"),
    "brightness": _words("dim faint moderate glaring dazzling pulsing flickering brilliant"),
    "field": _words("botany sculpture astronomy poetry weaving carpentry geology music theatre cookery"),
}
"""For every relation with one-word answers: the words."""

DISTRACTOR_SUBJECTS = (
    "the weather", "the market", "the harbour wall", "the old mill",
    "the ferry", "the choir", "the bakery", "the library",
    "the post office", "the town hall", "the orchard road",
    "the canal", "the school yard", "the lighthouse", "the forge",
)  # fmt: skip
DISTRACTOR_PREDICATES = (
    "was quiet on Monday", "opened late after the rain", "needed new paint", "stood empty for a month",
    "drew a small crowd", "closed before noon", "smelled of fresh bread", "was repaired in spring",
    "looked grey in the fog", "was busy all week", "had a new roof", "was lit by two lamps",
)  # fmt: skip
