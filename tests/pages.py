"""Pages as a browser takes them apart."""

from html.parser import HTMLParser


class Links(HTMLParser):
    """Collects what a browser would load, what links lead to, and the text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        addresses = [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}]
        (self.linked if tag == "a" else self.loaded).extend(addresses)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1] not in ("script", "style"):
            self.text += data
