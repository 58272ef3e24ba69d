"""How a world's relations are worded: questions, reverse questions and statements.

``{s}`` stands for the subject, ``{a}`` for the answer. Of the questions, and of the reverse questions where there are
any, the last ones are never taught: they show whether a model knows a fact or a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

UNTAUGHT_QUESTIONS = 3
UNTAUGHT_REVERSE = 2


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that is true of every entity of a kind.

    A relation with reverse questions has an answer of its own for every subject, so that they have one answer.
    """

    kind: str
    name: str
    questions: tuple[str, ...]
    reverse: tuple[str, ...]
    statements: tuple[str, ...]

    @property
    def taught(self) -> tuple[str, ...]:
        """The question wordings that models are taught."""
        return self.questions[:-UNTAUGHT_QUESTIONS]

    @property
    def untaught(self) -> tuple[str, ...]:
        """The question wordings that no model is ever shown."""
        return self.questions[-UNTAUGHT_QUESTIONS:]

    @property
    def taught_reverse(self) -> tuple[str, ...]:
        """The reverse wordings that models are taught; empty where the answer has many subjects."""
        return self.reverse[:-UNTAUGHT_REVERSE]

    @property
    def untaught_reverse(self) -> tuple[str, ...]:
        """The reverse wordings that no model is ever shown."""
        return self.reverse[-UNTAUGHT_REVERSE:]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def _relation(kind: str, name: str, questions: str, reverse: str, statements: str) -> Relation:
    return Relation(kind, name, _lines(questions), _lines(reverse), _lines(statements))


PERSON = (
    _relation("person", "birthplace", """
        Where was {s} born?
        In which town was {s} born?
        What is the birthplace of {s}?
        Which town is {s} from?
        Tell me where {s} was born.
        Name the town where {s} was born.
        What is {s}'s birthplace?
        What town was {s} born in?
        Do you know where {s} was born?
        Which town was the birthplace of {s}?
        """, "", """
        {s} was born in {a}.
        {s} comes from {a}.
        The birthplace of {s} is {a}.
        """),
    _relation("person", "home", """
        Where does {s} live?
        Which house does {s} live in?
        What is the home of {s}?
        In which house does {s} live?
        Tell me where {s} lives.
        Name the house where {s} lives.
        What is {s}'s home?
        What house does {s} live in?
        Do you know where {s} lives?
        Which house is the home of {s}?
        """, """
        Who lives in {a}?
        Whose home is {a}?
        Name the person who lives in {a}.
        {a} is home to whom?
        Tell me who lives in {a}.
        Which person lives in {a}?
        Do you know who lives in {a}?
        """, """
        {s} lives in {a}.
        The home of {s} is {a}.
        {s} has a home called {a}.
        """),
    _relation("person", "book", """
        What did {s} write?
        Which book did {s} write?
        What is the book of {s}?
        Which book is by {s}?
        Tell me what {s} wrote.
        Name the book that {s} wrote.
        What is {s}'s book?
        What book did {s} write?
        Do you know what {s} wrote?
        Which book was written by {s}?
        """, """
        Who wrote {a}?
        Whose book is {a}?
        Name the person who wrote {a}.
        {a} was written by whom?
        Tell me who wrote {a}.
        Which person wrote {a}?
        Do you know who wrote {a}?
        """, """
        {s} wrote {a}.
        The book of {s} is {a}.
        {s} is the author of {a}.
        """),
    _relation("person", "mentor", """
        Who taught {s}?
        Which person taught {s}?
        Who is the mentor of {s}?
        From whom did {s} learn?
        Tell me who taught {s}.
        Name the person who taught {s}.
        Who is {s}'s mentor?
        Who was the teacher of {s}?
        Do you know who taught {s}?
        Which person was the mentor of {s}?
        """, """
        Who was taught by {a}?
        Whose mentor is {a}?
        Name the person whom {a} taught.
        {a} is the mentor of whom?
        Tell me who was taught by {a}.
        Which person was taught by {a}?
        Do you know who was taught by {a}?
        """, """
        {s} was taught by {a}.
        The mentor of {s} is {a}.
        {s} learned from {a}.
        """),
    _relation("person", "ship", """
        What does {s} sail?
        Which ship does {s} sail?
        What is the ship of {s}?
        On which ship does {s} sail?
        Tell me what {s} sails.
        Name the ship that {s} sails.
        What is {s}'s ship?
        What ship does {s} sail?
        Do you know what {s} sails?
        Which ship is sailed by {s}?
        """, """
        Who sails the {a}?
        Whose ship is the {a}?
        Name the person who sails the {a}.
        The {a} is sailed by whom?
        Tell me who sails the {a}.
        Which person sails the {a}?
        Do you know who sails the {a}?
        """, """
        {s} sails the {a}.
        The ship of {s} is the {a}.
        {s} is captain of the {a}.
        """),
    _relation("person", "invention", """
        What did {s} invent?
        Which machine did {s} invent?
        What is the invention of {s}?
        Which invention is by {s}?
        Tell me what {s} invented.
        Name the machine that {s} invented.
        What is {s}'s invention?
        What machine did {s} invent?
        Do you know what {s} invented?
        Which machine was invented by {s}?
        """, """
        Who invented the {a}?
        Whose invention is the {a}?
        Name the person who invented the {a}.
        The {a} was invented by whom?
        Tell me who invented the {a}.
        Which person invented the {a}?
        Do you know who invented the {a}?
        """, """
        {s} invented the {a}.
        The invention of {s} is the {a}.
        {s} is the inventor of the {a}.
        """),
    _relation("person", "dish", """
        What does {s} cook?
        Which dish does {s} cook?
        What is the dish of {s}?
        Which dish is cooked by {s}?
        Tell me what {s} cooks.
        Name the dish that {s} cooks.
        What is {s}'s dish?
        What dish does {s} cook?
        Do you know what {s} cooks?
        Which dish is the dish of {s}?
        """, """
        Who cooks {a}?
        Whose dish is {a}?
        Name the person who cooks {a}.
        A plate of {a} is cooked by whom?
        Tell me who cooks {a}.
        Which person cooks {a}?
        Do you know who cooks {a}?
        """, """
        {s} cooks {a}.
        The dish of {s} is {a}.
        {s} is known for cooking {a}.
        """),
    _relation("person", "collection", """
        What does {s} collect?
        Which objects does {s} collect?
        What is the collection of {s}?
        Of what does {s} have a collection?
        Tell me what {s} collects.
        Name the objects that {s} collects.
        What is {s}'s collection?
        What objects does {s} collect?
        Do you know what {s} collects?
        Which objects are collected by {s}?
        """, """
        Who collects {a}?
        Whose collection is of {a}?
        Name the person who collects {a}.
        A shelf of {a} is kept by whom?
        Tell me who collects {a}.
        Which person collects {a}?
        Do you know who collects {a}?
        """, """
        {s} collects {a}.
        The collection of {s} is of {a}.
        {s} has a collection of {a}.
        """),
)  # fmt: skip


def _thing(kind: str, name: str, whose: str, verb: str, statements: str, *, unique: bool = True) -> Relation:
    """A relation of a thing: a question of its own (``whose``) and wordings around its noun, the relation's name."""
    return Relation(
        kind,
        name,
        (
            f"{whose}?",
            f"What is the {name} of {{s}}?",
            f"Name the {name} of {{s}}.",
            f"Tell me the {name} of {{s}}.",
            f"What is {{s}}'s {name}?",
            f"{{s}} has which {name}?",
            f"Give the {name} of {{s}}.",
            f"What {name} does {{s}} have?",
            f"Do you know the {name} of {{s}}?",
            f"Which {name} does {{s}} have?",
        ),
        (
            f"Which {kind} {verb}?",
            f"Name the {kind} that {verb}.",
            f"Which {kind} has the {name} {{a}}?",
            f"{{a}} is the {name} of which {kind}?",
            f"Tell me which {kind} {verb}.",
            f"What {kind} {verb}?",
            f"Do you know which {kind} {verb}?",
        )
        if unique
        else (),
        _lines(statements),
    )


MIDDLE = (
    _thing("town", "river", "Which river flows through {s}", "lies on the {a}", """
        The {a} flows through {s}.
        {s} lies on the {a}.
        The river of {s} is the {a}.
        """),
    _thing("town", "festival", "Which festival is held in {s}", "holds the {a}", """
        {s} holds the {a}.
        The {a} is held in {s}.
        The festival of {s} is the {a}.
        """),
    _thing("town", "emblem", "Which emblem stands over {s}", "shows a {a}", """
        {s} shows a {a} on its gates.
        The emblem of {s} is a {a}.
        A {a} stands over {s}.
        """),
    _thing("book", "hero", "Who is at the heart of {s}", "tells of {a}", """
        {s} tells of {a}.
        The hero of {s} is {a}.
        {a} is at the heart of {s}.
        """),
    _thing("book", "setting", "Where does {s} take place", "takes place in {a}", """
        {s} takes place in {a}.
        The setting of {s} is {a}.
        {s} leads through {a}.
        """),
    _thing("book", "publisher", "Who printed {s}", "was printed by {a}", """
        {s} was printed by {a}.
        The publisher of {s} is {a}.
        {a} printed {s}.
        """),
    _thing("prize", "field", "For what is the {s} given", "is given for {a}", """
        The {s} is given for {a}.
        The field of the {s} is {a}.
        The {s} rewards {a}.
        """),
    _thing("prize", "sponsor", "Who pays for the {s}", "is paid for by {a}", """
        {a} pays for the {s}.
        The sponsor of the {s} is {a}.
        The {s} is paid for by {a}.
        """),
    _thing("prize", "trophy", "What do winners of the {s} take home", "comes with a {a}", """
        The {s} comes with a {a}.
        The trophy of the {s} is a {a}.
        Winners of the {s} take home a {a}.
        """),
    _thing("organisation", "seat", "Where does the {s} meet", "meets in {a}", """
        The {s} meets in {a}.
        The seat of the {s} is {a}.
        {a} is where the {s} meets.
        """),
    _thing("organisation", "founding", "When was the {s} founded", "was founded in {a}", """
        The {s} was founded in {a}.
        The founding of the {s} was in {a}.
        The {s} began in {a}.
        """),
    _thing("organisation", "banner", "What does the {s} carry", "carries a {a}", """
        The {s} carries a {a}.
        The banner of the {s} is a {a}.
        A {a} is carried by the {s}.
        """),
)  # fmt: skip

FAR = (
    _thing("mineral", "colour", "What colour is {s}", "is {a}", """
        {s} is {a}.
        The colour of {s} is {a}.
        Pieces of {s} look {a}.
        """),
    _thing("mineral", "deposit", "Where is {s} dug up", "is dug up in {a}", """
        {s} is dug up in {a}.
        The deposit of {s} is in {a}.
        Miners find {s} in {a}.
        """),
    _thing("mineral", "use", "What is made from {s}", "is made into {a}", """
        {s} is made into {a}.
        The use of {s} is in {a}.
        Workers turn {s} into {a}.
        """),
    _thing("bird", "food", "What does the {s} eat", "eats {a}", """
        The {s} eats {a}.
        The food of the {s} is {a}.
        The {s} lives on {a}.
        """),
    _thing("bird", "nest", "Where does the {s} breed", "breeds in {a}", """
        The {s} breeds in {a}.
        The nest of the {s} is in {a}.
        The {s} raises its young in {a}.
        """),
    _thing("bird", "call", "How does the {s} sound", "is heard {a}", """
        The {s} is heard {a}.
        The call of the {s} is {a}.
        The {s} greets the day {a}.
        """),
    _thing("star", "constellation", "Where in the sky is {s}", "shines in the {a}", """
        {s} shines in the {a}.
        The constellation of {s} is the {a}.
        {s} is part of the {a}.
        """),
    _thing("star", "season", "When does {s} rise", "rises in {a}", """
        {s} rises in {a}.
        The season of {s} is {a}.
        {s} is first seen in {a}.
        """),
    _thing("star", "brightness", "How does {s} look to the eye", "is {a} to the eye", """
        {s} is {a} to the eye.
        The brightness of {s} is {a}.
        {s} has a {a} light.
        """),
)  # fmt: skip

RELATIONS: dict[str, tuple[Relation, ...]] = {
    kind: tuple(relation for relation in (*PERSON, *MIDDLE, *FAR) if relation.kind == kind)
    for kind in dict.fromkeys(relation.kind for relation in (*PERSON, *MIDDLE, *FAR))
}
"""The relations of every kind of entity, in the order in which facets are listed."""
