"""The explorer: a page on this machine on which one opens a chat, picks tokens and reads their explanations."""
