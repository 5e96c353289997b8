"""What every figure must keep to: all marks lie within it."""

from __future__ import annotations

from xml.etree import ElementTree


def marks_of(svg: str) -> ElementTree.Element:
    """Return the figure, all of whose marks lie within its height and between 0 and 100 per cent of its width."""
    figure = ElementTree.fromstring(svg)
    height = float(figure.attrib["height"])
    for mark in figure.iter():
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(mark.get(name, 0)) <= height, ElementTree.tostring(mark)
        for name in ("x", "x1", "x2", "cx"):
            place = mark.get(name, "")
            assert not place.endswith("%") or 0 <= float(place[:-1]) <= 100, ElementTree.tostring(mark)
    return figure


def places(figure: ElementTree.Element, tag: str, *names: str) -> list[tuple[float, ...]]:
    """Return coordinates of the marks of a kind, in their order."""
    return [tuple(float(mark.attrib[name].rstrip("%")) for name in names) for mark in figure.iter(tag)]
