"""Names of tensors that files and their scorer agree on."""

#: The input that takes the words of a row, which trees count.
WORDS = "text_words"
#: The output.
PROBABILITIES = "probabilities"
