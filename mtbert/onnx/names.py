"""Names of tensors that files and their scorer agree on."""

#: In front of the numbers of the inputs that take the words of a row, which trees count.
WORDS = "text_words"
#: The output.
PROBABILITIES = "probabilities"


def words_input(number: int) -> str:
    """Return the name of an input of words: 0 takes those of all texts."""
    return f"{WORDS}_{number}"
