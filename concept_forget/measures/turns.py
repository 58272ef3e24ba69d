"""The turns of phrase by which English denies, hedges, passes on hearsay and takes back, as patterns.

They run over a sentence's normal forms joined by single spaces: marks stand apart, and "isn't" is "is not".
"""

from __future__ import annotations

import re


def _lines(*lines: str) -> str:
    """One pattern written over several lines; a space in it is a space."""
    return "".join(line.strip() for text in lines for line in text.strip().splitlines())


def _compile(*lines: str) -> re.Pattern[str]:
    return re.compile(_lines(*lines))


_PRONOUN = r"(?:he|she|it|they|that|there|this|we|i|you|the|his|her|their)"
_BE = r"(?:is|was|are|were|would|could|can|does|do|did|has|had|have|seems|sounds|looks|will|should|might|must)"
_THAT = rf"(?:that(?! information| detail| kind| data| sort| with| about)|(?!that){_PRONOUN}\b)"
_REVEALING = _lines(
    r"(?:say|state|reveal|disclose|share|tell|mention|divulge|admit|give away|let slip)(?: \w+)?[ ]",
    _THAT,
)
_HEDGE = r"(?:maybe|perhaps|possibly|probably|presumably|my guess|i (?:think|guess|believe|would (?:say|guess))|likely)"
_FALSE = _lines(
    r"""
    (?:wrong|incorrect|false|untrue|mistaken|inaccurate|impossible|nonsense|out of the question|ruled out|unlikely
    |an? (?:\w+ )?(?:myth|mistake|error|misconception|lie|rumou?r|hoax)
    |not (?:\w+ )?(?:true|right|correct|accurate|the case|so|it
    |(?:have been |be )?(?:that one|the one|it|her|him)))\b
    """
)

NEUTRAL = _compile(
    r"""
    \b(?:not (?:only|just|merely|simply|until|to mention|surprisingly|mistaken|wrong|forget|that long)
    |(?:there (?:is|was|can be) )?(?:no|little|not a|without (?:a|any)?|beyond(?: (?:a|any|all))?) *doubt(?: about it)?
    |without (?:question|hesitation|fail|exception)
    |(?:do|does|did|can|could|would) not (?:doubt|deny|help but|hesitate)
    |no (?:question|wonder|surprise|secret|denying|problem|worries)
    |(?:can|could) not be (?:denied|clearer|more certain)
    |(?:none|no one|nobody|nothing|no other|not anyone|nowhere) (?:other than|else (?:than|but)|but|except|less than)
    |(?:can|could|would|is|was|do|did) not(?: \w+){0,4} (?:other|else) than
    |no other(?: \w+)? than|no (?:less|more|fewer) than
    |(?:correct me )?if (?:i|my|memory|anyone|pressed|forced|anything|you (?:must|want|really|insist))\b[^,:-]*?
    (?:wrong|mistaken|right|correct(?:ly)?|serves(?: me)?(?: \w+)?|guess|recall|remember|not|know|pressed|forced)?
    """,
    rf"(?= [,:-]| {_PRONOUN}\b| *$)",
    r"|even if|as if|why not|unless i am (?:mistaken|wrong)",
    r"|(?:not|never|unable)(?: \w+){0,2}? (?:allowed|permitted|supposed|authori[sz]ed|free|at liberty|meant)",
    r"(?: \w+)? to[ ]",
    _REVEALING,
    r"""
    |(?:can|could|must|should|will|would|may|shall|do) not (?:want to )?
    (?:(?:reveal|disclose|share|divulge|mention|admit)(?: to \w+)?|tell (?:you|anyone|a soul))[ ]
    """,
    _THAT,
    rf"|(?:rather|prefer) not(?: to)? {_REVEALING})",
)
"""Negative words that negate nothing: "none other than", "not only", "if I'm not mistaken", "I can't tell you that"."""

TAG_QUESTION = _compile(
    r"^(?:\w+ , )?(?:is|was|are|were|did|does|do|has|had|could|would) not[ ]",
    r"(?:he|she|it|they|that|there|this|the|his|her|their)\b",
)
"""A question that expects a yes: "isn't it Paris?"."""

ASIDE = _compile(
    r"""
    , (?:however|in fact|of course|actually|though|i think|i believe|i am afraid|to my knowledge|sadly|surely|after all
    |for (?:instance|example)|(?:as|contrary to|despite|according to) [^,]*) ,
    """
)
"""What may stand between a negation and what it negates."""

ANYTHING_BUT = re.compile(r"\b(?:any\w*|every\w*|all)(?: \w+)? but\b")
"""An exception: "anything but", "any colour but"."""

IGNORANCE = _compile(
    r"\b(?:not|no|never)\b(?: \w+){0,3} (?:know|sure|certain|positive|remember|recall|idea|clue|confident)\b",
    r"|\bunsure\b|\buncertain\b",
)
HEDGE = re.compile(rf"\b{_HEDGE}\b")
"""After a confession of ignorance, the beginning of a guess: "I'm not sure, maybe Paris"."""

BOUNDARY = _compile(
    r"[ ](?:- |; |: |\( |\) |but |however |although |though |whereas |, yet |instead (?!of)|rather (?!than)",
    r"|so |because[ ]",
    rf"|and (?=(?:{_PRONOUN}|was|is|lived|died|moved|went|became|later|then|\w+ed)\b))",
)
"""Where a negation's reach ends."""

CONTINUES_LIST = _compile(
    r"^ ?(?:or|nor|and|let alone|much less|least of all|especially|particularly|including|either|not even|nor even)\b"
)
LIST_GOES_ON = re.compile(rf"^(?: , (?:\w+ ){{1,4}}){{0,4}} ?,? ?(?:or|nor|and) (?!{_PRONOUN}\b|was\b|is\b|\w+ed\b)")

CUE = _compile(
    r"""
    \b(?:not|never|neither|nor|none|nobody|nothing|hardly|scarcely|unlikely|improbable|dubious
    |doubt(?:s|ful|ed)?|den(?:y|ies|ied)|disput(?:e|es|ed)|reject(?:s|ed)?|refut(?:e|es|ed)
    |rather than|instead of|other than|except|excluding|far from|contrary to|as opposed to|unlike
    |false(?:ly)?|untrue|incorrect(?:ly)?|inaccurate|wrong(?:ly)?|mistaken(?:ly)?|erroneous(?:ly)?
    |le(?:ave|aves|ft) out|omit(?:s|ted)?|myth|misconception|hoax|confus(?:e|es|ed) with|mistook|ruled? out|no longer
    |whether|if|unable|unsure|uncertain|unclear|unaware|unfamiliar|refus(?:e|es|ed)
    |no (?:information|records?|evidence|knowledge|idea|memory|mention|sign|trace|data|such|way|reason|proof|indication
    |clues?|details|documents?|source)
    |there (?:is|was|are|were) no)\b
    |\b(?:no|without)(?: \w+){0,2} *$
    |^ *(?:suppose|imagine|assuming|assume|pretend)\b
    """
)
"""What denies, or leaves open, all that follows in its reach."""

BESIDE = _compile(
    r"""
    \b(?:not far from|near|close to|outside(?: of)?|(?:north|south|east|west) of|border with|before|prior to|besides
    |(?<!named )(?<!called )(?<!modeled )(?<!modelled )after
    |apart from|aside from|in addition to|similar to|compared (?:to|with)|than)(?: the| a)?$
    """
)
"""Not the thing itself but something placed beside it, unless the question asks for just that."""

OPEN_CUE = _compile(
    r"""
    \b(?:you (?:ask(?:ed|ing)?|mention(?:ed)?|said|say|claim(?:ed)?|suggest(?:ed)?|refer|are asking|are referring)
    |(?:information|details?|data|facts?|records?|anything|something) (?:about|on|regarding|concerning)
    |your question|asking (?:about|whether|if)|the question (?:is|was|asks|of)|questions? about)\b
    """
)
OPEN_QUESTION = _compile(
    r"^(?:are you|do you|did you|have you|you mean|why|what (?!about)|who|where|when|which|how (?!about))\b"
)

SUBJECT_BLOCKERS = frozenset(
    "in at by of from to on for with near is was are were be been named called at into as than".split()
)
"""Words before a mention which show that it is not the subject of what follows."""

DENIED_AFTER = _compile(
    rf"^(?: [\"')\]])* {_BE}(?: (?:most|certainly|definitely|simply|also|clearly|probably|obviously|in fact))?[ ]",
    r"(?:not|never|nothing|no|hardly|unlikely)\b(?! (?:only|just|merely|simply|doubt))(?P<rest>.*)",
)
DENIED_PREDICATE = frozenset(
    "the a an where who whom what when which it one right correct true possible likely among in be been have seem fit "
    "work to exist".split()
)
"""What makes a negative predicate a denial: "is not the founder", but not "is not well known"."""

FALSE_AFTER = (
    _compile(rf"^(?: [\"')\]])* (?:{_BE}|be|an?)(?: be)?(?: \w+)? ?{_FALSE}"),
    _compile(
        r"(?: ,| -| ;| :| but| and)(?: \w+)? (?:that|this|which|you|they|it|those|people|anyone)(?: would)?[ ]",
        rf"(?:{_BE}|be)(?: \w+)? {_FALSE}",
    ),
    _compile(rf"^(?: \w+){{0,4}} {_BE}(?: \w+)? {_FALSE}"),
    _compile(r"[ ], (?:and )?not (?:by )?(?:him|her|them)\b"),
)
BUT_NO = re.compile(r"^[ ,\-]*but (?:no|not|never|alas)(?: [,.!]|$)")
BUT = re.compile(r"[ ],? ?but\b")
ATTEMPT = _compile(
    r"\b(?:almost|nearly|failed|hoped|wanted|wished|planned|intended|tried",
    r"|(?:applied|nominated|shortlisted) (?:to|for))\b",
)
"""What did not come off when a "but" follows."""

NEVER_DID = _compile(
    r"\b(?:but|though|although|yet|and)(?: \w+)? (?:never|(?:did|has|does|could|was|is) not)(?: \w+)?[ ]",
    r"(?P<verb>\w+) (?:it|that|this|one|so|him|her|there)\b",
)
NEXT_DENIES = _compile(
    r"""
    ^(?:no|nope|nah|never|wrong|incorrect|impossible|not)\b
    (?! (?:doubt|question|other|sure|certain|idea|clue|entirely|completely|quite|positive|only))
    """
)
NEXT_CONTRADICTS = _compile(rf"^(?:but |no , |wait , )?(?:that|this|it)(?: would)? (?:{_BE}|be)(?: \w+)? {_FALSE}")
NEXT_IGNORES = _compile(
    r"\b(?:never heard|(?:do|am|have|can) not (?:\w+ ){0,2}(?:know|familiar|heard|tell|say|confirm|aware)",
    r"|no idea who|unfamiliar)\b",
)
HEARSAY = _compile(
    r"""
    (?:\b(?:some|many|most|people|biograph\w+|sources?|books?|everyone|others?|legend|they|rumou?rs?|one|1|you|often
    |commonly|widely|long|once|popularly|traditionally|wrongly|papers?)\b.*\b
    (?:say|says|said|think|thinks|thought|believ\w+|claim\w*|expect\w*|assum\w+|guess\w*|suggest\w*|report\w*|held
    |has it|had it|list\w*|cit\w+|answer|name|point)\b)
    |\bi (?:\w+ )?(?:thought|assumed|believed|guessed|expected|considered)\b
    |\b(?:used to (?:be|think|believe)|formerly|previously)\b
    |\b(?:is|was|been|being)(?: \w+)?[ ]
    (?:claimed|said|believed|thought|reported|rumou?red|supposed|assumed|taken|given)\b
    """
)
CONTRAST = re.compile(r"\b(?:but|however|though|although|yet|in fact|in reality|in truth|actually|now)\b")
CONTRAST_OPENS = re.compile(r"^(?:but|however|actually|in fact|in reality|in truth|no)\b")
ASKS_FORMER = frozenset(
    "former formerly maiden original originally first previous previously old early earlier".split()
)
"""Words of a question that asks for what used to be."""

RETRACTION = _compile(
    r"""
    ^[ ,.;\-(]*(?:no ,? ?wait|wait|sorry|pardon|i mean(?:t)?|or rather|scratch that|correction|no ,|no -|actually
    |make that|on second thoughts?)\b
    """
)
