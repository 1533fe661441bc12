"""The demo's parts: who sees whom, the chapters of the story, how it is shown and judged."""
